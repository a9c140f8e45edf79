"""The weight of each pixel in the loss: a table by class, and a map of borders.

Ronneberger et al. 2015, Eq. 2: w(x) = w_c(x) + w0 exp(-(d1 + d2)^2 / (2 sigma^2)). The
first term is a table with a number for each class, `class_weights`, looked up by the
loss. The second is an image, `border_weights`, made once for each annotation.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import ceil, log, prod, sqrt
from os import cpu_count
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.geometry.boxes import Box, full_box, grown, shape_of, within
from napari_unet.core.geometry.nearest import two_nearest
from napari_unet.core.settings import BorderWeights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PAPER = BorderWeights()
# A term is 0 where it would be less than this. The scheme "fiji" adds up two terms for
# each class, which together must not lose more.
_SMALLEST = {"paper": 1e-5, "fiji": 1e-6}
# Pixels processed together; more would only need more memory.
_BAND = 2**17


def border_weights(
    instances: NDArray[np.integer],
    settings: BorderWeights = PAPER,
    *,
    background: NDArray[np.bool_] | None = None,
    class_of: Mapping[int, int] | None = None,
    spacing: Sequence[float] | None = None,
    box: Box | None = None,
) -> NDArray[np.float32]:
    """Weight the background between cells, to be added to the weight of its class.

    Parameters
    ----------
    instances : ndarray of int, shape ([z,] y, x)
        One id above 0 for each cell, before ridges; 0 elsewhere.
    settings : BorderWeights
        Scheme "paper": w0 exp(-(d1 + d2)^2 / (2 sigma^2)), with d1 and d2 the distances
        from a pixel to the nearest pixels of the two nearest cells. Scheme "fiji": the
        sum over classes of the same and of (1 - balance) exp(-d1^2 / (2 near_sigma^2)),
        with distances to cells of this class only.
    background : ndarray of bool, shape of `instances`, optional
        Where there are weights; where there are no cells unless given. A pixel of a
        ridge is background within its cell: d1 = 0.
    class_of : mapping of int to int, optional
        Class of each id, 1 unless given. Only the scheme "fiji" needs it.
    spacing : sequence of float, optional
        Pixel size along each axis relative to the finest, 1 unless given. The lengths
        in the settings are in pixels of the finest axis.
    box : tuple of slice, optional
        Only these pixels, with start and stop inside the image.

    Returns
    -------
    ndarray of float32, shape of `instances` or of `box`
        0 off the background. Terms are cut off below 1e-5 ("fiji": 1e-6). A box has the
        values of the whole map, yet only what is within reach of it is read.

    Raises
    ------
    ValueError
        If shapes, spacing or box do not fit, or ids are negative.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net. MICCAI 2015, Eq. 2.
    Falk et al.: U-Net. Nature Methods 16, 2019 (scheme "fiji", as in its plugin).
    """
    steps = tuple(spacing) if spacing is not None else (1.0,) * instances.ndim
    box = box if box is not None else full_box(instances.shape)
    _check(instances.shape, background, steps, box)
    margins, top = reach(settings, steps), box[0].start
    weights = np.empty(shape_of(box), np.float32)

    def fill(band: Box) -> None:
        window = grown(band, margins, instances.shape)
        inner, cells = within(band, window), instances[window]
        wanted = np.zeros(cells.shape, bool)
        wanted[inner] = cells[inner] == 0 if background is None else background[band]
        groups = _by_class(cells, class_of) if settings.scheme == "fiji" else [cells]
        rows = slice(band[0].start - top, band[0].stop - top)
        weights[rows] = _weigh(groups, wanted, inner, settings, steps)

    bands = _bands(box, margins[0])
    if len(bands) == 1:
        fill(bands[0])
        return weights
    with ThreadPoolExecutor(cpu_count()) as threads:
        for _ in threads.map(fill, bands):
            pass  # an error would be raised here
    return weights


def reach(
    settings: BorderWeights, spacing: Sequence[float] = (1.0, 1.0)
) -> tuple[int, ...]:
    """Return how far a changed pixel changes `border_weights`, in pixels of each axis.

    `spacing` is the pixel size along each axis relative to the finest.
    """
    return tuple(ceil(max(_reaches(settings)) / step) for step in spacing)


def class_weights(
    counts: Sequence[int] | NDArray[np.integer],
    settings: BorderWeights = PAPER,
    exponent: float = 0.5,
) -> NDArray[np.float32]:
    """Weight the classes against each other: w_c of Eq. 2, once per training set.

    `counts` are the pixels of each class in the whole training set, background first: a
    ValueError says that one is negative or all are 0. The weight of a class without
    pixels is 0. An `exponent` of 0 weighs all classes alike, 1 gives each class the
    same share of the loss. With the scheme "fiji" the table is (balance, 1, 1, ...),
    whatever the counts.

    The paper balances the classes' frequencies but does not say how. Here w_c is
    proportional to frequency^-exponent, and the mean over all pixels is 1, so that
    neither w0 nor the learning rate depends on the balance. Full inverse frequency
    would let a class of few pixels, often the least reliable ones, decide the loss; the
    square root is also the bound that the authors advise for the plugin's balance.
    """
    pixels = np.asarray(counts, np.float64)
    if pixels.size == 0 or pixels.min() < 0 or pixels.sum() == 0:
        raise ValueError(
            "class weights need pixel counts of at least one annotated pixel and none "
            f"negative, found {pixels.tolist()}."
        )
    if settings.scheme == "fiji":
        table = np.ones(pixels.size)
        table[0] = settings.balance
        table[pixels == 0] = 0
        return table.astype(np.float32)
    share: NDArray[np.float64] = pixels / pixels.sum()
    table = np.zeros_like(share)
    table[share > 0] = share[share > 0] ** -exponent
    table /= (share * table).sum()
    return table.astype(np.float32)


def _check(
    shape: tuple[int, ...],
    background: NDArray[np.bool_] | None,
    spacing: tuple[float, ...],
    box: Box,
) -> None:
    if background is not None and background.shape != shape:
        raise ValueError(
            f"the background must have the shape of the cells, {shape}, "
            f"found {background.shape}."
        )
    if len(spacing) != len(shape) or not all(s > 0 for s in spacing):
        raise ValueError(
            f"the spacing needs {len(shape)} positive values, found {spacing}."
        )
    if len(box) != len(shape) or not all(
        0 <= b.start < b.stop <= n for b, n in zip(box, shape, strict=True)
    ):
        raise ValueError(f"the box {box} is not inside an image of size {shape}.")


def _reaches(settings: BorderWeights) -> tuple[float, float]:
    """How far the terms reach: in d1 + d2, and in d1 alone."""
    smallest = _SMALLEST[settings.scheme]
    between = _reach(settings.w0, settings.sigma, smallest)
    if settings.scheme == "paper":
        return between, 0.0
    return between, _reach(1 - settings.balance, settings.near_sigma, smallest)


def _reach(height: float, sigma: float, smallest: float) -> float:
    """Distance at which a bell curve falls to the smallest weight."""
    return sigma * sqrt(2 * log(height / smallest)) if height > smallest else 0.0


def _bands(box: Box, margin: int) -> list[Box]:
    """Cut a box into bands of rows, or slices, small enough for the caches."""
    thickness = max(_BAND // prod(shape_of(box[1:])), 4 * margin, 1)
    low, high = box[0].start, box[0].stop
    bands = [slice(a, min(a + thickness, high)) for a in range(low, high, thickness)]
    return [(band, *box[1:]) for band in bands]


def _weigh(
    groups: Sequence[NDArray[np.integer]],
    wanted: NDArray[np.bool_],
    inner: Box,
    settings: BorderWeights,
    spacing: Sequence[float],
) -> NDArray[np.float32]:
    """Add up the terms of all groups of cells within a part of the window."""
    between, around = _reaches(settings)
    shape = wanted[inner].shape
    weights = np.zeros(wanted[inner].size, np.float32)
    for cells in groups:
        # A cell nearer than half of both distances together is the nearest.
        reach = max(between / 2, around)
        near = two_nearest(cells, reach, spacing, total=between, wanted=wanted)
        first, second = near.first[inner].ravel(), near.second[inner].ravel()
        at = np.flatnonzero(np.isfinite(second))
        weights[at] += _bell(first[at] + second[at], settings.w0, settings.sigma)
        if around > 0:
            at = np.flatnonzero(first <= around)
            weights[at] += _bell(first[at], 1 - settings.balance, settings.near_sigma)
    return weights.reshape(shape)


def _by_class(
    cells: NDArray[np.integer], class_of: Mapping[int, int] | None
) -> list[NDArray[np.integer]]:
    """Return the cells of each class apart, by class number."""
    numbers = {cell: number for cell, number in (class_of or {}).items() if number != 1}
    if not numbers:
        return [cells]
    first = np.where(np.isin(cells, list(numbers)), 0, cells)
    groups = [first]
    for number in sorted(set(numbers.values())):
        members = [cell for cell, n in numbers.items() if n == number]
        groups.append(np.where(np.isin(cells, members), cells, 0))
    return groups


def _bell(
    distance: NDArray[np.float32], height: float, sigma: float
) -> NDArray[np.float32]:
    """Return height exp(-distance^2 / (2 sigma^2)), computed in float64."""
    bell: NDArray[np.float64] = np.exp(-((distance / np.float64(sigma)) ** 2) / 2)
    return (height * bell).astype(np.float32)
