"""What label files mean, in words for people."""

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


def read_named(path: Path, axes: str | None = None, like: Image | None = None) -> Image:
    """As `read_objects`, without classes."""
    return without_classes(read_objects(path, axes, like))


def read_objects(
    path: Path, axes: str | None = None, like: Image | None = None
) -> Objects:
    """Read labels that messages call by their path: the image may have their name.

    ValueError if they are outlines, and it is not known of which image: `like`.
    """
    if like is None and needs_image(path):
        raise ValueError(
            f"{path}: outlines do not tell the size of their image; name a label image."
        )
    objects = read_label_objects(path, axes, like)
    return replace(objects, labels=replace(objects.labels, name=str(path)))


def known_kind(files: Sequence[Path]) -> Kind | None:
    """Return what labels mean where that is no question: outlines are of cells."""
    return "instances" if all(map(is_objects, files)) else None


def note_of_classes(objects: Sequence[Objects]) -> str:
    """Say which classes of objects are used, and how many objects have none."""
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
    """Find out what labels mean, and what a person should know about it.

    It is guessed if `kind` is None. The sentences, in which the labels are called
    `what`, say what was guessed and how many planes are empty.

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
    empty = sum(not np.any(plane.read()) for plane in planes)
    if empty and len(planes) > 1 and meaning not in ("annotation", "sparse"):
        notes.append(
            f"{what}: {empty} of {len(planes)} planes have no value above 0, and are "
            "background throughout."
        )
    return meaning, notes
