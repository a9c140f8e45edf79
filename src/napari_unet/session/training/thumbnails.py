"""Small pictures of what a model learnt from."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    Annotation,
)
from napari_unet.core.geometry.boxes import (
    around,
    centre,
    full_box,
    shape_of,
    square,
)
from napari_unet.core.images.thumbnail import as_picture, step_for
from napari_unet.io.learnt_data import learnt_pairs
from napari_unet.session.training.runs import kept_run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.images.image import Field
    from napari_unet.core.model import ModelCard

# So many are enough to see what kind of images they were.
_MOST = 4
# Pixels along a side at the most, and around what is annotated.
_SIDE, _MARGIN = 160, 8


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """A part of a slice that was learnt from, with what was annotated in it."""

    name: str
    grey: NDArray[np.uint8]  # (y, x)
    labels: NDArray[np.integer]  # ids of what is annotated; 0 elsewhere


def thumbnails_of(path: Path, card: ModelCard) -> list[Thumbnail]:
    """Return those of a model file, as far as its run and the images are there."""
    run = kept_run(path, card)
    if run.folder is None or run.record is None:
        return []
    with suppress(ValueError, OSError):
        pairs, _ = learnt_pairs(run.folder, run.record)
        return [_thumbnail(field, known) for field, known in pairs[:_MOST]]
    return []


def _thumbnail(field: Field, known: object) -> Thumbnail:
    pixels = field.read()
    labels = np.zeros(pixels.shape[1:], np.int32)
    if isinstance(known, Annotation):
        # objects with ids from 1, where background is none
        objects = known.labels >= FIRST_OBJECT
        labels = np.where(objects, known.labels.astype(np.int32) - BACKGROUND, 0)
    if labels.ndim == 3:
        # the slice in which most is annotated
        z = int(np.count_nonzero(labels, axis=(1, 2)).argmax())
        pixels, labels = pixels[:, z], labels[z]
    annotated = around(labels > 0) or full_box(labels.shape)
    side = max(shape_of(annotated)) + 2 * _MARGIN
    box = square(centre(annotated), side, labels.shape)
    step = step_for(labels[box].shape, _SIDE)
    box = tuple(slice(s.start, s.stop, step) for s in box)
    return Thumbnail(field.image.name, as_picture(pixels[:, *box]), labels[box])
