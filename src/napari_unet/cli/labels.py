"""What label files mean, in words for people."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.label_kind import MEANINGS
from napari_unet.core.annotation.pairing import kind_of
from napari_unet.io.label_files import is_objects, read_label_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.core.annotation.annotations import Kind
    from napari_unet.core.images.image import Image


def read_named(path: Path, axes: str | None = None, like: Image | None = None) -> Image:
    """Read labels that messages call by their path: the image may have their name.

    ValueError if they are outlines, and it is not known of which image: `like`.
    """
    if like is None and is_objects(path):
        raise ValueError(
            f"{path}: outlines do not tell the size of their image; name a label image."
        )
    return replace(read_label_file(path, axes, like), name=str(path))


def known_kind(files: Sequence[Path]) -> Kind | None:
    """Return what labels mean where that is no question: outlines are of cells."""
    return "instances" if all(map(is_objects, files)) else None


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
