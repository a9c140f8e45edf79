"""Pixel sizes: the one of a model, and images of another than it was trained at.

The network sees such an image resampled to the pixel size it knows; its output is
interpolated back onto the image's own grid. Pixel centres lie at whole numbers, and the
two grids share their outer edges: pixel i of one is at (i + 1/2) f - 1/2 of the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor, prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from napari_unet.core.geometry.boxes import Box, full_box
from napari_unet.core.images.image import Field
from napari_unet.core.text import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Rounding in files: ImageJ's fractions, numbers with few digits.
_EQUAL = 0.01
# Networks are trained on images enlarged and shrunk by more than this.
_ALIKE = 0.05
# Pixel sizes further apart are mistakes, most often made by the program that saved one.
_FURTHEST = 16.0
# Fields that have fewer pixels at another size are kept at it.
_KEPT = 2**22


def rescaling(
    trained_um: Sequence[float] | None,
    spacing_um: Sequence[float] | None,
    ndim: int,
    name: str = "the image",
    scale: float = 1.0,
) -> tuple[float, ...] | None:
    """Find by how much an image is resampled for a network with `ndim` spatial axes.

    `trained_um` and `spacing_um` are the pixel sizes of what the network sees and of
    this image along ([z,] y, x) in micrometres; the size along z is nothing to a
    network for planes, and one that the image lacks is taken as of the training images.
    `scale` is the size at which it saw the training images, as a share of their own: so
    is an image taken where either pixel size is unknown. The result are pixels of the
    network for each pixel of the image, along [z,] y, x; None if they are alike within
    5 %. A ValueError says that the image's pixels are more than 16 times larger or
    smaller than those of the training images.
    """
    trained, own = (tuple(sizes or ())[-ndim:] for sizes in (trained_um, spacing_um))
    if (len(trained), len(own)) == (3, 2):
        own = (trained[0] * scale, *own)
    if not len(trained) == len(own) == ndim:
        return None if scale == 1 else (scale,) * ndim
    if _within(_ALIKE, own, trained):
        return None
    factors = tuple(a / b for a, b in zip(own, trained, strict=True))
    if not all(1 / _FURTHEST <= f / scale <= _FURTHEST for f in factors):
        found, known = written(own), written([scale * size for size in trained])
        raise ValueError(
            f"{name}: pixels of {found} are more than {_FURTHEST:g} times larger or "
            f"smaller than those of {known} that the model was trained on; correct "
            "the pixel size, or predict with --no-rescale."
        )
    return factors


def common_size(
    sizes_um: Sequence[tuple[str, Sequence[float] | None]], *, mix: bool = False
) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Return the pixel size of a model that learns from images of these sizes.

    `sizes_um` are the name of each image and its pixel size in micrometres along the
    axes of the network, None where it is unknown, or along y and x if that along z is.
    Returned are the middle of those that are known, None if none is, and what was
    assumed, each a sentence. A ValueError says that sizes differ by more than 5 %, as
    cells would have two sizes; with `mix` that is accepted, and the model has no size.
    """
    known = [(name, tuple(size)) for name, size in sizes_um if size is not None]
    if not known:
        return None, ()
    known, notes = _with_depth(known)
    axes = zip(*(size for _, size in known), strict=True)
    middle = tuple(float(f"{np.median(axis):.6g}") for axis in axes)
    if unknown := [name for name, size in sizes_um if size is None]:
        notes.append(
            f"{listed(unknown)} without pixel size: taken for {written(middle)} as "
            "the others have."
        )
    distinct = {size for _, size in known}
    if all(_within(_EQUAL, one, other) for one in distinct for other in distinct):
        return middle, tuple(notes)
    found: dict[str, list[str]] = {}
    for name, size in known:
        found.setdefault(written(size), []).append(name)
    sizes = ", ".join(f"{size} ({listed(names)})" for size, names in found.items())
    if all(_within(_ALIKE, size, middle) for _, size in known):
        notes.append(f"pixel sizes that are nearly equal count as one: {sizes}.")
        return middle, tuple(notes)
    if mix:
        return None, (
            f"images of different pixel sizes are mixed, the model has none: {sizes}.",
        )
    raise ValueError(
        f"the images have different pixel sizes, {sizes}: cells would have several "
        "sizes; give images of one pixel size, resample them, or mix them on purpose "
        "with --mix-pixel-sizes (the model then has no pixel size)."
    )


def _with_depth(
    sizes_um: Sequence[tuple[str, tuple[float, ...]]],
) -> tuple[list[tuple[str, tuple[float, ...]]], list[str]]:
    """Give sizes along y and x alone the depth of the others, and say so."""
    most = max(len(size) for _, size in sizes_um)
    flat = [name for name, size in sizes_um if len(size) < most]
    if not flat:
        return list(sizes_um), []
    depth = float(np.median([size[0] for _, size in sizes_um if len(size) == most]))
    note = (
        f"{listed(flat)} without pixel size along z: taken for {written([depth])} as "
        "the others have."
    )
    sizes = [(n, size if len(size) == most else (depth, *size)) for n, size in sizes_um]
    return sizes, [note]


def note_of_start(
    learnt_um: Sequence[float] | None, own_um: Sequence[float] | None, scale: float
) -> tuple[str, ...]:
    """Say that training goes on with pixels of another size, where both are known.

    `learnt_um` are those that the model to start from has learnt, `own_um` those that
    it will see, of images at `scale` times their size.
    """
    before, own = learnt_um or (), own_um or ()
    if len(before) != len(own) or _within(_ALIKE, own, before):
        return ()
    factors = [scale * a / b for a, b in zip(own, before, strict=True)]
    alike = _within(_ALIKE, factors, [factors[-1]] * len(factors))
    said = f"; an image size of {factors[-1]:.3g} (--scale) makes them alike"
    return (
        f"The model to start from has learnt pixels of {written(before)}, now it sees "
        f"{written(own)}, and objects of another size{said if alike else ''}.",
    )


def written(size_um: Sequence[float]) -> str:
    """Write a pixel size for people."""
    return " × ".join(f"{s:.3g}" for s in size_um) + " µm"


def _within(share: float, some: Sequence[float], others: Sequence[float]) -> bool:
    return all(abs(a / b - 1) <= share for a, b in zip(some, others, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Rescaled:
    """A field as a network sees it that was trained at another pixel size.

    Shrinking blurs first, so that detail too fine for the network's grid does not turn
    into patterns. A pixel's value does not depend on the box it is read in.
    """

    field: Field
    factors: tuple[float, ...]  # as `rescaling` gives them

    @property
    def shape(self) -> tuple[int, ...]:
        """Size in pixels of the network, ([z,] y, x)."""
        sizes = zip(self.field.shape, self.factors, strict=True)
        return tuple(max(round(n * f), 1) for n, f in sizes)

    def read(self, box: Box | None = None) -> NDArray[np.float32]:
        """Return pixels of the network's grid, (channels, [z,] y, x)."""
        box = box if box is not None else full_box(self.shape)
        positions, parts = [], []
        for part, n, f in zip(box, self.field.shape, self.factors, strict=True):
            own = (np.arange(part.start, part.stop) + 0.5) / f - 0.5
            own = np.clip(own, 0, n - 1)
            margin = _radius(f) + 1
            low = max(int(own[0]) - margin, 0)
            positions.append(own - low)
            parts.append(slice(low, min(int(own[-1]) + margin + 2, n)))
        block = self.field.read(tuple(parts)).astype(np.float32)
        for axis, (own, f) in enumerate(zip(positions, self.factors, strict=True), 1):
            if f < 1:
                block = gaussian_filter1d(
                    block, _blur(f), axis=axis, mode="nearest", radius=_radius(f)
                )
            block = interpolate(block, axis, own)
        return block

    def window_start(self, start: Sequence[int], step: Sequence[int]) -> list[int]:
        """Return where the network's output begins that covers an own pixel.

        A multiple of the network's step, one pixel of the network before or earlier.
        """
        return [
            int(np.floor((a + 0.5) * f - 0.5) - 1) // s * s
            for a, f, s in zip(start, self.factors, step, strict=True)
        ]

    def covering(self, size: Sequence[int], step: Sequence[int]) -> tuple[int, ...]:
        """Return an output of the network that covers own pixels wherever they are.

        What `window_start` puts in front comes on top, and a pixel after the last.
        """
        return tuple(
            int(np.ceil(n * f)) + s + 3
            for n, f, s in zip(size, self.factors, step, strict=True)
        )

    def covered_by(self, output: Sequence[int], step: Sequence[int]) -> tuple[int, ...]:
        """Return how many own pixels such an output covers, at least one."""
        return tuple(
            max(int((o - s - 3) / f), 1)
            for o, f, s in zip(output, self.factors, step, strict=True)
        )

    def on_own_grid(
        self,
        values: NDArray[np.float32],
        origin: Sequence[int],
        start: Sequence[int],
        size: Sequence[int],
    ) -> NDArray[np.float32]:
        """Interpolate a network's output, (classes, [z,] y, x), onto image pixels.

        `origin` is that of the output on the network's grid, `start` and `size` are
        those of the box of the image.
        """
        rows = zip(origin, start, size, self.factors, strict=True)
        for axis, (o, a, n, f) in enumerate(rows, start=1):
            values = interpolate(
                values, axis, (np.arange(a, a + n) + 0.5) * f - 0.5 - o
            )
        return values


@dataclass(frozen=True, slots=True, eq=False)
class ScaledField(Field):
    """A field at another size than its own, as a network is to learn from it.

    All axes of the field are scaled alike; what belongs to its image, such as grey
    values and pixel size, is that of the image as it is.
    """

    scale: float = 1.0  # pixels for each of its own
    _whole: list[NDArray[np.float32]] = field(default_factory=list, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """As `Field.shape`, scaled."""
        return self._rescaled.shape

    def read(self, box: Box | None = None) -> NDArray[np.float32]:
        """As `Field.read`; of what is small all is read once."""
        if prod(self.shape) > _KEPT:
            return self._rescaled.read(box)
        if not self._whole:
            self._whole.append(self._rescaled.read())
        return self._whole[0][(slice(None), *(box or full_box(self.shape)))]

    def scaled_box(self, box: Box) -> Box:
        """Return what covers a box of the field's own pixels."""
        scaled = []
        for part, n in zip(box, self.shape, strict=True):
            start = min(floor(part.start * self.scale), n - 1)
            stop = min(ceil(part.stop * self.scale), n)
            scaled.append(slice(start, max(stop, start + 1)))
        return tuple(scaled)

    def labels(self, own: NDArray[Any]) -> NDArray[Any]:
        """Scale labels of the field, ([z,] y, x): each pixel is the nearest of them."""
        for axis, n in enumerate(self.shape):
            nearest = ((np.arange(n) + 0.5) / self.scale).astype(int)
            own = own.take(np.minimum(nearest, own.shape[axis] - 1), axis=axis)
        return own

    @property
    def _rescaled(self) -> Rescaled:
        own = Field(self.image, self.t, self.z)
        return Rescaled(own, (self.scale,) * own.ndim)


def interpolate(
    values: NDArray[np.float32], axis: int, at: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """Interpolate linearly along one axis; beyond its ends the last value holds."""
    last = values.shape[axis] - 1
    at = np.clip(at, 0, last)
    below = np.minimum(at.astype(int), max(last - 1, 0))
    share = (at - below).astype(np.float32)
    share = share.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    lower = np.take(values, below, axis=axis)
    upper = np.take(values, np.minimum(below + 1, last), axis=axis)
    result: NDArray[np.float32] = lower + share * (upper - lower)
    return result


def _blur(factor: float) -> float:
    """Standard deviation of the blur before shrinking, in own pixels."""
    return (1 / factor - 1) / 2


def _radius(factor: float) -> int:
    return int(np.ceil(4 * _blur(factor))) if factor < 1 else 0
