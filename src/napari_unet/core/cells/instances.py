"""From probabilities to cells: threshold, split at necks, close ridges, clean up.

The network learns one-pixel ridges of background between touching cells (Ronneberger et
al. 2015, section 3). Where a ridge is clear, the threshold separates the cells and the
ridge is given back to them; where it is only a dip in the probability, the watershed
splits them, or, if chosen, the multicut.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import log
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.cells.holes import fill_holes, fill_pinholes
from napari_unet.core.cells.labelmap import at_edge, close_ridges, renumber, sizes
from napari_unet.core.cells.linking import link_slices
from napari_unet.core.cells.multicut import multicut
from napari_unet.core.cells.tracking import track_cells
from napari_unet.core.cells.watershed import watershed
from napari_unet.core.geometry.distance import distance_inside
from napari_unet.core.images.image import Image
from napari_unet.core.images.smoothing import smooth
from napari_unet.core.settings import SURE, Segmentation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEFAULTS = Segmentation()
# Holes of fewer pixels are noise: they must not make a cell look like a ring.
_PINHOLE = 20


def segment_instances(
    probabilities: NDArray[np.floating],
    settings: Segmentation = DEFAULTS,
    *,
    cell_classes: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
) -> NDArray[np.int32]:
    """Find the cells of one plane or one volume.

    Parameters
    ----------
    probabilities : ndarray of float, shape (classes, [z,] y, x), in [0, 1]
        Background first.
    settings : Segmentation
        What links slices and frames has no meaning here.
    cell_classes : sequence of int, optional
        Classes whose objects are told apart; all but the background unless given.
    spacing : sequence of float, optional
        Pixel size along [z,] y, x relative to the finest, 1 unless given. The lengths
        in `settings` are in pixels of the finest axis.

    Returns
    -------
    ndarray of int32, shape ([z,] y, x)
        0 is background; cells are numbered 1, 2, … in the order in which a scan
        line by line meets them, through all classes: see `class_probabilities`.

    Raises
    ------
    ValueError
        If the array's, the classes' or the spacing's shape does not fit.
    ModuleNotFoundError
        If the multicut is chosen and its package is missing.

    Notes
    -----
    Pixels are neighbours across faces. Regions of other classes are neither cut nor
    overwritten by holes and ridges. The image's edge, for `clear_border`, is the four
    sides of a plane, or the six of a volume (a volume of one slice has four).
    """
    settings.check_installed()
    classes = _check(probabilities, cell_classes, spacing)
    steps = tuple(spacing) if spacing else (1.0,) * (probabilities.ndim - 1)
    cells = _cut(probabilities, classes, settings, steps)
    cells = _drop_small(cells, probabilities, classes, settings)
    regions = _regions(probabilities, classes)
    if settings.ridge > 0:
        cells = _keep(regions, cells, close_ridges(cells, settings.ridge, steps))
    if settings.fill_holes:
        cells = _keep(regions, cells, fill_holes(cells))
    keep = np.ones(int(cells.max(initial=0)) + 1, bool)
    return renumber(cells, ~at_edge(cells) if settings.clear_border else keep)


def segment_image(
    probabilities: Image,
    ndim: int,
    settings: Segmentation = DEFAULTS,
    *,
    cell_classes: Sequence[int] | None = None,
) -> NDArray[np.int32]:
    """Find the cells of a whole prediction: all its time frames, slices or volumes.

    The channels of `probabilities` are the classes, background first; `ndim` is 2 or 3,
    the spatial axes of the network. Slices of a 2-D network are segmented each on its
    own, then linked through z as `settings.link_z` says. The axes of the result are
    those of `probabilities` without c, in the order t, z, y, x. Ids start at 1 in every
    time frame, as trackers expect, and are unique within a frame; with `track` they are
    those of `tracking.track_cells`, one for a cell in all frames. Errors are as in
    `segment_instances`.

    Linked cells are one object: with `clear_border`, a cell whose outline touches a
    side of the plane in any slice is dropped from all. Linking does not look at
    classes, so one slice of a doubtful class does not break a cell.
    """
    if ndim not in (2, 3):
        raise ValueError(f"a network has 2 or 3 spatial axes, found {ndim}.")
    image = probabilities
    linked = ndim == 2 and image.size("z") > 1
    each = settings.replace(clear_border=settings.clear_border and not linked)
    spacing = image.field_spacing(ndim)
    cells = np.zeros([image.size(a) for a in "tzyx"], np.int32)
    for field in image.fields(ndim):
        at = (field.t, slice(None) if field.z is None else field.z)
        cells[at] = segment_instances(
            field.read(), each, cell_classes=cell_classes, spacing=spacing
        ).reshape(cells[at].shape)
    if linked:
        for frame in cells:
            min_iou = settings.link_iou if settings.link_z == "overlap" else None
            clear_border = settings.clear_border
            frame[...] = link_slices(frame, min_iou, clear_border=clear_border)
    axes = image.label_axes
    cells = cells.reshape([image.size(a) for a in axes])
    if settings.track and image.size("t") > 1:
        tracks = track_cells(Image(cells, axes, image.known_um), settings)
        for t, frame in enumerate(cells):
            frame[...] = tracks.rename(t, frame)
    return cells


def uncertainty(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the Shannon entropy of each pixel, 0 to 1 (all classes equally probable).

    The classes are the first axis.
    """
    # 0 log 0 is 0
    terms = probabilities * np.log(np.maximum(probabilities, 1e-12))
    entropy: NDArray[np.float32] = -terms.sum(axis=0) / np.float32(
        log(len(probabilities))
    )
    return np.clip(entropy, 0, 1)


def most_probable(
    probabilities: NDArray[np.floating], axis: int = 0
) -> NDArray[np.uint8]:
    """Return the most probable class of each pixel; the classes are along an axis."""
    classes: NDArray[np.uint8] = probabilities.argmax(axis=axis).astype(np.uint8)
    return classes


def class_probabilities(
    cells: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    cell_classes: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """Mean probability of each class of cells over the pixels of each id.

    An array (classes, ids) with a column for each id from 0 to the highest, 0 where an
    id has no pixels. Cells may be edited or linked ones. A ValueError says that the
    shapes or the classes do not fit.
    """
    classes = _check(probabilities, cell_classes, None)
    if cells.shape != probabilities.shape[1:]:
        raise ValueError(
            f"the cells' shape {cells.shape} is not that of the probabilities "
            f"{probabilities.shape} without their classes."
        )
    ids = cells.ravel()
    totals = [np.bincount(ids, probabilities[k].ravel()) for k in classes]
    return np.array(totals) / np.maximum(sizes(cells), 1)


def _check(
    probabilities: NDArray[np.floating],
    cell_classes: Sequence[int] | None,
    spacing: Sequence[float] | None,
) -> tuple[int, ...]:
    """Check the input and return the classes to tell apart."""
    shape = probabilities.shape
    if len(shape) not in (3, 4) or shape[0] < 2:
        raise ValueError(
            "probabilities are (classes, [z,] y, x) with at least 2 classes, "
            f"found shape {shape}."
        )
    if spacing is not None and (
        len(spacing) != len(shape) - 1 or not all(s > 0 for s in spacing)
    ):
        raise ValueError(
            f"the spacing needs {len(shape) - 1} positive values, found {spacing}."
        )
    classes = tuple(range(1, shape[0]) if cell_classes is None else cell_classes)
    if len(set(classes)) < len(classes) or not set(classes) <= set(range(1, shape[0])):
        raise ValueError(
            f"cell classes must be different numbers from 1 to {shape[0] - 1}, "
            f"found {classes}."
        )
    return classes


def _cut(
    probabilities: NDArray[np.floating],
    classes: tuple[int, ...],
    settings: Segmentation,
    spacing: tuple[float, ...],
) -> NDArray[np.int32]:
    """Find the cells of each class: above the threshold, split at necks."""
    cells = np.zeros(probabilities.shape[1:], np.int32)
    best = probabilities[list(classes)].argmax(axis=0) if len(classes) > 1 else None
    for nth, k in enumerate(classes):
        own = np.asarray(probabilities[k], np.float32)
        if best is not None:  # below a threshold of 0.5 two classes could claim a pixel
            own = np.where(best == nth, own, np.float32(0))
        height = _elevation(own, settings.threshold, spacing)
        if settings.cells_by == "multicut":
            basins = multicut(height, 1 - own, settings.membrane, spacing)
        else:
            basins = watershed(height, settings.min_distance, settings.neck)
        if len(classes) == 1:
            return basins
        cells += np.where(basins > 0, basins + cells.max(initial=0), 0)
    return cells


def _drop_small(
    cells: NDArray[np.int32],
    probabilities: NDArray[np.floating],
    classes: tuple[int, ...],
    settings: Segmentation,
) -> NDArray[np.int32]:
    """Drop what is too small for a cell, or too small for how sure the network is."""
    pixels = sizes(cells)
    keep = pixels >= settings.min_size
    unsure = keep & (pixels < settings.unsure_size)
    unsure[0] = False
    if unsure.any():
        there = unsure[cells]
        of = probabilities[:, there][list(classes)].sum(axis=0)
        totals = np.bincount(cells[there], of, minlength=len(pixels))
        keep[unsure] = totals[unsure] >= SURE * pixels[unsure]
    return renumber(cells, keep)


def _elevation(
    probability: NDArray[np.float32], threshold: float, spacing: tuple[float, ...]
) -> NDArray[np.float32]:
    """Depth inside the cells, in pixels, for their outlines at two levels.

    A ridge that is only a dip in the probability does not show at the threshold, but
    does halfway from there to certainty. The mean of both depths has a saddle there.
    """
    inside = probability > threshold
    with ThreadPoolExecutor(1) as beside:
        outer = beside.submit(_depth, inside, spacing)
        smoothed = smooth(probability, [1 / step for step in spacing])
        depth = _depth(inside & (smoothed > (1 + threshold) / 2), spacing)
        depth += outer.result()
    depth *= np.float32(0.5)
    depth *= inside
    return depth


def _depth(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.float32]:
    return distance_inside(fill_pinholes(mask, _PINHOLE), spacing)


def _regions(
    probabilities: NDArray[np.floating], classes: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """Pixels of classes without cells, which holes and ridges must not take."""
    others = set(range(1, len(probabilities))) - set(classes)
    if not others:
        return None
    return np.isin(probabilities.argmax(axis=0), list(others))


def _keep(
    where: NDArray[np.bool_] | None, old: NDArray[np.int32], new: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Undo a change where a mask is true."""
    return new if where is None else np.where(where, old, new)
