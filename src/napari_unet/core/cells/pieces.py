"""Connected components of regions: small ones, or all but the largest, are removed.

A piece is a component connected across faces. A removed one gets the class that it
borders on most. nnU-Net (Isensee et al., Nature Methods 2021), whose rule decides where
only the largest is kept, makes it background, which not all images of regions have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import label

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.instances import most_probable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.settings import Segmentation

# Fewest slices or volumes by which it is decided which pieces to keep.
_FEWEST_PARTS = 2
# A smaller gain of the Dice coefficient is taken for chance.
_GAIN = 0.01


def region_classes(classes: int, cell_classes: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of the classes of regions; `classes` counts the background."""
    return tuple(k for k in range(1, classes) if k not in cell_classes)


def tidy(
    classes: NDArray[np.uint8], settings: Segmentation, regions: Sequence[int]
) -> NDArray[np.uint8]:
    """Return the classes of a plane or volume with the unwanted pieces removed.

    Each gets the class that it has the longest border with, background or another
    region; background where it borders on cells alone. One that fills the whole field
    stays. Classes are done in their order: those after it see what a piece became.
    `regions` are the classes whose pieces may be removed.
    """
    others = np.array([0, *regions], np.uint8)
    for k in regions:
        pieces, count = label(classes == k)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        goes = sizes < settings.smallest_piece
        if k in settings.largest_only and count:
            goes |= np.arange(count + 1) != 1 + sizes[1:].argmax()
        goes[0] = False
        goes &= sizes < classes.size
        if goes.any():
            becomes = others[_borders(pieces, goes, classes, others).argmax(axis=1)]
            classes = np.where(goes[pieces], becomes[pieces], classes)
    return classes


def _borders(
    pieces: NDArray[np.integer],
    goes: NDArray[np.bool_],
    classes: NDArray[np.uint8],
    others: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Count the faces between each removed piece and some classes."""
    place = np.full(256, -1)
    place[others] = np.arange(len(others))
    around = place[classes]
    counts = np.zeros(len(goes) * len(others), np.int64)
    for axis in range(pieces.ndim):
        low = tuple(slice(0, -1 if a == axis else None) for a in range(pieces.ndim))
        high = tuple(slice(1 if a == axis else 0, None) for a in range(pieces.ndim))
        for own, other in ((low, high), (high, low)):
            piece, beside = pieces[own], around[other]
            there = goes[piece] & (pieces[other] != piece) & (beside >= 0)
            pairs = piece[there].astype(np.int64) * len(others) + beside[there]
            counts += np.bincount(pairs, minlength=counts.size)
    return counts.reshape(-1, len(others))


def choose_largest(
    parts: Sequence[tuple[NDArray[np.floating], NDArray[np.uint8]]],
    settings: Segmentation,
    regions: Sequence[int],
) -> tuple[Segmentation, dict[int, tuple[float, float]]]:
    """Keep only the largest piece of the classes that gain by it: nnU-Net's rule.

    `parts` are probabilities (classes, [z,] y, x) and the annotated classes of whole
    slices or volumes, at least two, that were not trained on. A class gains where its
    mean Dice coefficient rises by 0.01, and that of no other class falls. Returned are
    the settings, and of each class that gains its coefficient before and after.
    """
    gains: dict[int, tuple[float, float]] = {}
    if len(parts) < _FEWEST_PARTS:
        return settings, gains
    found = [most_probable(probabilities) for probabilities, _ in parts]
    true = [classes for _, classes in parts]
    scores = _dice(found, true, regions)
    for n, k in enumerate(regions):
        only = settings.replace(largest_only=(k,), smallest_piece=0)
        tried = [tidy(classes, only, regions) for classes in found]
        after = _dice(tried, true, regions)
        if after[n] >= scores[n] + _GAIN and (after >= scores).all():
            gains[k] = float(scores[n]), float(after[n])
            found, scores = tried, after
    return settings.replace(largest_only=tuple(gains)), gains


def _dice(
    found: Sequence[NDArray[np.uint8]],
    true: Sequence[NDArray[np.uint8]],
    regions: Sequence[int],
) -> NDArray[np.float64]:
    """Return the Dice coefficient of each class, the mean of the parts it is in."""
    each = np.full((len(found), len(regions)), np.nan)
    for row, seen, real in zip(each, found, true, strict=True):
        known = real != IGNORED
        for n, k in enumerate(regions):
            a, b = (seen == k) & known, (real == k) & known
            if total := int(a.sum() + b.sum()):
                row[n] = 2 * int((a & b).sum()) / total
    there = ~np.isnan(each)
    total = np.where(there, each, 0).sum(axis=0)
    mean: NDArray[np.float64] = total / np.maximum(there.sum(axis=0), 1)
    return mean
