"""What of an image is to be predicted, in which order, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_unet.core.images.rescaling import rescaling
from napari_unet.core.text import counted

if TYPE_CHECKING:
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.jobs import Place
    from napari_unet.core.model import ModelCard
    from napari_unet.core.settings import Prediction
    from napari_unet.session.prediction.models import ModelEntry
    from napari_unet.session.project.record import ProjectImage

Extent = Literal["slice", "view", "layer", "images"]
"""The slice in view, what the canvas shows of it, a whole image, or all open images."""

Averaging = Literal["none", "dihedral"]
"""As in `core.settings.Prediction`."""

# Cells that differ in size by more than this look different to the network.


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What of one image is to be predicted.

    Attributes
    ----------
    image_id : str
    places : tuple of (t, z)
        Planes or volumes, in this order.
    region : tuple of slice or None
        Part of each; None for all.
    focus : tuple of float
        Point that is done first, ([z,] y, x) in pixels.
    """

    image_id: str
    places: tuple[Place, ...]
    region: Box | None
    focus: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """How it was asked for; a model that is chosen later does not matter."""

    model: ModelEntry | None
    settings: Prediction
    entropy: bool


def order(
    extent: Extent,
    image: ProjectImage,
    ndim: int,
    seen: tuple[int, int],
    box: tuple[slice, slice],
) -> Order:
    """Put in order what is to be predicted: what is in view first, then outwards.

    Parameters
    ----------
    extent : {"slice", "view", "layer", "images"}
    image : ProjectImage
    ndim : {2, 3}
        Of the network; one of 3 axes takes the volume that a slice is in.
    seen : tuple of int
        Time point and slice in view.
    box : tuple of slice
        What the canvas shows of the plane, in pixels.

    Raises
    ------
    ValueError
        If nothing of the image is in view, but only that is asked for.
    """
    size = dict(zip(image.axes, image.shape, strict=True))
    frames, slices = size.get("t", 1), size.get("z", 1)
    middle = tuple((s.start + s.stop) / 2 for s in box)
    t, z = seen
    places: list[Place]
    if extent in ("slice", "view"):
        places = [(t, z)] if ndim == 2 else [(t, None)]
    elif ndim == 2:
        places = [(i, k) for i in range(frames) for k in range(slices)]
        places.sort(key=lambda p: (abs(p[0] - t), abs((p[1] or 0) - z)))
    else:
        places = sorted(((i, None) for i in range(frames)), key=lambda p: abs(p[0] - t))
    focus = middle if ndim == 2 else (z + 0.5, *middle)
    region: Box | None = None
    if extent == "view":
        if any(s.stop <= s.start for s in box):
            raise ValueError(f"Nothing of {image.name} is in view: move it there.")
        region = box if ndim == 2 else (slice(0, slices), *box)
    return Order(image.id, tuple(places), region, focus)


def objection(card: ModelCard, image: ProjectImage) -> str:
    """Say why a model cannot be used for an image; empty if it can."""
    return channel_objection(card, image.name, image.channels)


def channel_objection(card: ModelCard, name: str, found: int) -> str:
    """Say why a model cannot be used for a number of channels; empty if it can."""
    needed = card.architecture.channels
    if needed == found:
        return ""
    return (
        f"{card.name} was trained on images with {counted(needed, 'channel')}, "
        f"{name} has {counted(found, 'channel')}: choose another model or image."
    )


def remark(card: ModelCard, image: ProjectImage) -> str:
    """Say how an image is changed for a model; empty if it is not."""
    then = "it is resampled for the network."
    if mistaken(card, image):
        then = "one of the two must be wrong, so it is not resampled."
    elif factors_for(card, image) is None:
        return ""
    ndim = card.architecture.ndim
    ours, theirs = ((s or ())[-ndim:] for s in (image.spacing_um, card.spacing_um))
    return (
        f"{image.name} has pixels of {_size(ours)}, {card.name} was trained on pixels "
        f"of {_size(theirs)}: {then}"
    )


def mistaken(card: ModelCard, image: ProjectImage) -> bool:
    """Whether the pixel sizes of model and image are too far apart to be right."""
    try:
        factors_for(card, image)
    except ValueError:
        return True
    return False


def factors_for(card: ModelCard, image: ProjectImage) -> tuple[float, ...] | None:
    """Return by how much an image is resampled for a model, see `rescaling`."""
    ndim = card.architecture.ndim
    return rescaling(card.spacing_um, image.spacing_um, ndim, image.name)


def _size(spacing: tuple[float, ...]) -> str:
    return " × ".join(f"{s:.3g}" for s in spacing) + " µm"
