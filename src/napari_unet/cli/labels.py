"""Label files and the meaning of their values, with notes for people."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.label_kind import MEANINGS
from napari_unet.core.annotation.object_classes import classes_of
from napari_unet.core.annotation.pairing import kind_of
from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.text import counted, listed
from napari_unet.io.label_files import (
    is_objects,
    needs_image,
    read_label_objects,
    without_classes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.core.annotation.annotations import Kind
    from napari_unet.core.cells.objects import Objects
    from napari_unet.core.images.image import Image


# Share of pixels from which cells may rather be what lies between them.
_MOST = 0.5


def read_named(path: Path, axes: str | None = None, like: Image | None = None) -> Image:
    """As `read_objects`, without classes."""
    return without_classes(read_objects(path, axes, like))


def read_objects(
    path: Path, axes: str | None = None, like: Image | None = None
) -> Objects:
    """Read labels; messages name them by path, as an image may have the same name.

    ValueError if they are outlines and `like`, their image, is unknown.
    """
    if like is None and needs_image(path):
        raise ValueError(
            f"{path}: outlines do not tell the size of their image; name a label image."
        )
    objects = read_label_objects(path, axes, like)
    return replace(objects, labels=replace(objects.labels, name=str(path)))


def known_kind(files: Sequence[Path], objects: Sequence[Objects] = ()) -> Kind | None:
    """Return the meaning of labels if the format implies it: outlines are of cells.

    What was read of the files may have classes of objects: then it is of cells, too.
    """
    classed = [bool(one.class_of) for one in objects] or [False] * len(files)
    known = (is_objects(file) or k for file, k in zip(files, classed, strict=True))
    return "instances" if all(known) else None


def note_of_classes(objects: Sequence[Objects]) -> str:
    """Return a note on the classes of objects, and on objects without one."""
    names = [c.name for c in classes_of(objects)]
    said = f"labels: each object is a cell of its class: {listed(names, 8)}."
    lost = sum(
        one.class_named(label) is None
        for one in objects
        for label in distinct(one.labels.read()).tolist()
        if label > 0
    )
    if lost:
        said += f" {counted(lost, 'object has', 'objects have')} none: not annotated."
    return said


def meaning_of(
    labels: Sequence[Image], kind: Kind | None, what: str = "labels"
) -> tuple[Kind, list[str]]:
    """Return the meaning of labels, and notes about it.

    It is guessed if `kind` is None. The notes, which call the labels `what`, are about
    the guess, empty planes, and masks that may be inverted.

    Raises
    ------
    ValueError
        If the values are no labels, or what they mean has to be said.
    """
    meaning = kind or kind_of(labels)
    notes = []
    if kind is None:
        notes.append(f"{what}: {MEANINGS[meaning]} (guessed; --labels says otherwise).")
    planes = [field for mask in labels for field in mask.fields(2)]
    shares = [float(np.mean(plane.read() > 0)) for plane in planes]
    empty = shares.count(0)
    # all planes together: one may well be full of cells
    if meaning == "binary" and (share := float(np.mean(shares))) > _MOST:
        notes.append(
            f"{what}: {100 * share:.0f} % of the pixels are cells: if 0 stands for "
            "these and the other value for background, invert the masks."
        )
    if empty and len(planes) > 1 and meaning not in ("annotation", "sparse"):
        notes.append(
            f"{what}: {empty} of {len(planes)} planes have no value above 0, and are "
            "background throughout."
        )
    return meaning, notes
