"""Predictions to be evaluated: where they are, and what their values mean."""

from __future__ import annotations

from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.core.image import Image
from napari_unet.core.meaning import UnclearLabelsError
from napari_unet.core.pairing import annotations_of, kind_of
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.prediction_folder import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotations import Annotation, Kind

Wants = Literal["instances", "probability", "classes"]

# What a metric can be computed from, best first.
_SOURCES: dict[Wants, tuple[str, ...]] = {
    "probability": ("probabilities", "classes", "instances"),
    "classes": ("classes", "probabilities", "instances"),
    "instances": ("instances", "classes"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where predictions of one kind are.

    Attributes
    ----------
    place : str or Path
        File, folder or pattern.
    what : {"probabilities", "classes", "instances"} or None
        As `predict` names its folders; None for files from elsewhere.
    """

    place: str | Path
    what: str | None


def source_of(predictions: str | Path, wants: Wants) -> Source:
    """Find what a metric wants, in a folder that `predict` wrote or as it is named.

    Raises
    ------
    ValueError
        If there are only probabilities where cells are wanted.
    """
    path = Path(predictions)
    there = [kind for kind in KINDS if (path / kind).is_dir()]
    found = [kind for kind in _SOURCES[wants] if kind in there]
    if found:
        return Source(path / found[0], found[0])
    named = path.name
    if has_magic(str(path)) or not path.is_dir() or path.suffix == ".zarr":
        named = path.parent.name
    what = named if named in KINDS else None
    if there or (what is not None and what not in _SOURCES[wants]):
        raise ValueError(
            f"{predictions}: holds probabilities, but cells are to be compared; name "
            f"{' or '.join(_SOURCES[wants])}, or predict with --save instances."
        )
    return Source(predictions, what)


class Predictions:
    """Predictions of one kind, page by page as metrics want them.

    Parameters
    ----------
    files : sequence of Path
    what : {"probabilities", "classes", "instances"} or None
    ndim : {2, 3}
        Pages are planes or volumes.
    """

    def __init__(self, files: Sequence[Path], what: str | None, ndim: int) -> None:
        self.what = what
        self.images = [_read(file, what) for file in files]
        self._ndim = ndim
        self._labels: list[Image] | None = None

    def kind(self, truth: Kind, wants: Wants) -> Kind:
        """Tell what values mean: as the folder says, or else as of any masks.

        Masks that leave it open are taken to mean what the truth means.
        """
        if self.what is not None:
            return "instances" if self.what == "instances" else "semantic"
        if truth == "semantic" and wants == "classes":
            return truth
        try:
            return kind_of(self.labels())
        except UnclearLabelsError:
            return "instances" if truth == "annotation" else truth

    def annotations(self, kind: Kind) -> list[Annotation]:
        """Return each page with its classes and objects."""
        return annotations_of(self.labels(), self._ndim, kind)

    def highest_class(self) -> int:
        """Return the highest class of which there are pixels, 1 if all is one class."""
        if self.what not in ("classes", "probabilities"):
            return 1
        pages = (field.read() for image in self.labels() for field in image.fields(2))
        return max(int(page.max()) for page in pages)

    def probabilities(self) -> list[NDArray[Any]]:
        """Return the probability of being object, of masks 0 or 1."""
        if any(image.data.dtype.kind != "f" for image in self.images):
            masks = self.annotations("instances")
            return [(mask.labels > 1).astype(np.float32) for mask in masks]
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


def _read(file: Path, what: str | None) -> Image:
    if what in ("classes", "instances"):
        return read_labels(file)
    image = read_image(file)
    # masks from elsewhere may be saved as colours, or as real numbers
    return image if _is_probability(image, what) else read_labels(file)


def _is_probability(image: Image, what: str | None) -> bool:
    if what == "probabilities":
        return True
    if image.data.dtype.kind != "f":
        return False
    values = np.asarray(image.data[...])
    return bool((values != np.floor(values)).any())


def _labels(image: Image) -> Image:
    if image.data.dtype.kind != "f":
        return image
    values = np.asarray(image.data[...])
    if "c" not in image.axes:
        # one channel is the probability of object
        return Image(values > 0.5, image.axes, image.spacing_um, image.name)
    most = values.argmax(axis=image.axes.index("c")).astype(np.uint8)
    axes = image.axes.replace("c", "")
    return Image(most, axes, image.spacing_um, image.name)
