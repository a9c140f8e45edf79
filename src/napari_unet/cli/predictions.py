"""Predictions to be evaluated: where they are, and what their values mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from napari_unet.cli.labels import read_named
from napari_unet.core.annotation.annotations import BACKGROUND
from napari_unet.core.annotation.label_kind import UnclearLabelsError
from napari_unet.core.annotation.pairing import (
    annotations_of,
    check_sharp,
    check_values,
    kind_of,
)
from napari_unet.core.cells.instances import most_probable
from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.images.image import Image
from napari_unet.core.metrics import IMAGE_METRICS
from napari_unet.io.images import read_image
from napari_unet.io.label_files import is_objects
from napari_unet.io.prediction_folder import IMAGE, KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Kind

Wants = Literal["instances", "probability", "classes"]

# What a metric can be computed from, best first.
SOURCES: dict[Wants, tuple[str, ...]] = {
    "probability": ("probabilities", "classes", "instances"),
    "classes": ("classes", "probabilities", "instances"),
    "instances": ("instances", "classes"),
}


# Sums and resampling may lead beyond 0 and 1 by so much.
_ROUNDED = 1e-3


class Source(NamedTuple):
    """Where predictions of one kind are: a file, folder or pattern."""

    path: str | Path
    # as `predict` names its folders; None for files from elsewhere
    saved_kind: str | None


def source_of(predictions: str | Path, wants: Wants) -> Source:
    """Find what a metric can use, in a folder that `predict` wrote or as it is named.

    Raises
    ------
    ValueError
        If there are only probabilities where cells are wanted.
    """
    path = Path(predictions)
    there = [kind for kind in KINDS if (path / kind).is_dir()]
    found = [kind for kind in SOURCES[wants] if kind in there]
    if found:
        return Source(path / found[0], found[0])
    if not there and (path / IMAGE).is_dir():
        raise ValueError(
            f"{predictions}: holds images that a network made, no labels; measured of "
            f"them are {', '.join(IMAGE_METRICS)}."
        )
    named = path.name
    if not path.is_dir() or path.suffix == ".zarr":
        named = path.parent.name
    saved_kind = named if named in KINDS else None
    if there or (saved_kind is not None and saved_kind not in SOURCES[wants]):
        raise ValueError(
            f"{predictions}: holds probabilities, but cells are to be compared; name "
            f"{' or '.join(SOURCES[wants])}, or predict with --save instances."
        )
    return Source(predictions, saved_kind)


def read_prediction(file: Path, saved_kind: str | None, like: Image | None) -> Image:
    """Read a prediction; `like` is an image of its size, which outlines do not tell.

    Messages name it by its path. A ValueError or OSError says why it is none.
    """
    if is_objects(file) or saved_kind in ("classes", "instances"):
        return read_named(file, like=like)
    image = replace(read_image(file), name=str(file))
    if saved_kind == "probabilities" and image.data.dtype.kind != "f":
        raise ValueError(
            f"{file}: probabilities are real numbers, found {image.data.dtype}."
        )
    # masks from elsewhere may be saved as colours, or as real numbers
    if not _is_probability(image, saved_kind):
        return read_named(file)
    _check_probabilities(image)
    return image


def check_prediction(image: Image, saved_kind: str | None, truth: Kind | None) -> None:
    """Refuse, with a ValueError, masks that are grey levels beside such a truth."""
    if saved_kind == "instances":
        check_values(image, "instances")
    elif saved_kind is None:
        of_classes = truth in ("semantic", "sparse")
        check_sharp(_labels(image), "semantic" if of_classes else None)


class Predictions:
    """Predictions of one kind, page by page: planes, or volumes if `ndim` is 3.

    `of_cells` is whether they are outlines, which are of cells.
    """

    def __init__(
        self,
        images: Sequence[Image],
        saved_kind: str | None,
        ndim: int,
        *,
        of_cells: bool = False,
    ) -> None:
        self.saved_kind = saved_kind
        self.of_cells = of_cells
        self.images = images
        self._ndim = ndim
        self._labels: list[Image] | None = None

    def kind(self, truth: Kind, wants: Wants, classes: int) -> Kind:
        """Return what values mean: as the folder says, or else as of any masks.

        Where masks leave it open they are ids, or classes if those of the truth are.
        Classes are not above the number of those of the truth, if they can be ids.
        """
        if self.saved_kind == "instances" or self.of_cells:
            return "instances"
        if self.saved_kind is not None:
            return "semantic" if len(self.values()) > 1 else "binary"
        of_classes = truth == "semantic" and wants == "classes"
        if of_classes and max(self.values(), default=0) <= classes:
            return truth
        try:
            return kind_of(self.labels())
        except UnclearLabelsError:
            return "semantic" if truth == "semantic" else "instances"

    def objects(self, kind: Kind) -> list[NDArray[np.int32]]:
        """Return the ids of the objects of each page, from 1 on."""
        found = annotations_of(self.labels(), self._ndim, kind)
        return [(page.labels - BACKGROUND).astype(np.int32) for page in found]

    def classes(self, kind: Kind) -> list[NDArray[Any]]:
        """Return the class of each pixel; all objects are one unless values are."""
        fields = (f for image in self.labels() for f in image.fields(self._ndim))
        pages = (field.read()[0] for field in fields)
        return [page if kind == "semantic" else page > 0 for page in pages]

    def values(self) -> set[int]:
        """Return the values above 0 that there are."""
        fields = (f for image in self.labels() for f in image.fields(2))
        return {int(v) for f in fields for v in distinct(f.read()[0]) if v > 0}

    def probabilities(self) -> list[NDArray[Any]]:
        """Return the probability of being object, of masks 0 or 1."""
        if any(image.data.dtype.kind != "f" for image in self.images):
            return [(page > 0).astype(np.float32) for page in self.objects("instances")]
        pages = [
            field.read() for image in self.images for field in image.fields(self._ndim)
        ]
        # background comes first: objects are all that is not background
        return [1 - page[0] if len(page) > 1 else page[0] for page in pages]

    def labels(self) -> list[Image]:
        """Return label images; of probabilities the most probable class."""
        if self._labels is None:
            self._labels = [_labels(image) for image in self.images]
        return self._labels


def _is_probability(image: Image, saved_kind: str | None) -> bool:
    if saved_kind == "probabilities":
        return True
    if image.data.dtype.kind != "f":
        return False
    values = image.read()
    return bool((values != np.floor(values)).any())


def _check_probabilities(image: Image) -> None:
    """Refuse, with a ValueError, values that are no probabilities, such as NaN."""
    values = image.read()
    wrong = ~((values >= -_ROUNDED) & (values <= 1 + _ROUNDED))
    if wrong.any():
        raise ValueError(
            f"{image.name}: has real numbers, which are probabilities from 0 to 1 "
            f"here, found {values[wrong][0]:g}."
        )


def _labels(image: Image) -> Image:
    if "c" not in image.axes:
        if image.data.dtype.kind != "f":
            return image
        # one channel is the probability of object
        return replace(image, data=image.read() > 0.5)
    values = image.read()
    most = most_probable(values, image.axes.index("c"))
    axes = image.axes.replace("c", "")
    return Image(most, axes, image.spacing_um, image.name)
