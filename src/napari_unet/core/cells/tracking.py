"""One id for a cell through the frames of a movie: by overlap and distance.

Frame-to-frame linking: the cells of two frames are assigned to each other at the lowest
total cost, as in Jaqaman et al. 2008 (Nature Methods 5:695-702) but without their
models of motion, merging and splitting. Errors of segmentation stay: a cell that is
split in two for some frames is reported as a division.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_unet.core.cells.label_ids import distinct, positions
from napari_unet.core.cells.linking import add_overlaps, count_overlaps
from napari_unet.core.geometry.blocks import cut
from napari_unet.core.settings import Segmentation

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Field, Image

DEFAULTS = Segmentation()
# A link costs 0 (the same pixels) to 2 (no overlap, as far apart as allowed); leaving
# both of its cells unlinked costs twice this.
_ALONE = 1.0
# Daughters are alike: the smaller one has at least this share of the other's pixels.
# The middle between both is at most this share of their distance from where their
# mother was. Both are chosen by the eight divisions in DIC-C2DH-HeLa's sequence 01.
_ALIKE, _ASIDE = 1 / 3, 0.35
# Pixels of a frame that are read at a time, and the chunk that it is stored in.
_PLANE, _VOLUME, _CHUNK = (2048, 2048), (8, 1024, 1024), 512


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The cells of a movie, each with one id in all frames.

    Ids are 1, 2, … in the order in which cells appear, in a frame by their position.
    """

    # (rows, 2 + axes): track, frame and centroid ([z,] y, x) of each cell of each
    # frame, in pixels, by track and frame: napari's Tracks
    points: NDArray[np.float64]
    parents: Mapping[int, int]  # parents of tracks that came from a division
    # for each frame its ids, ascending with 0, and the track of each
    _names: tuple[tuple[NDArray[np.int64], NDArray[np.int32]], ...]

    @property
    def count(self) -> int:
        """Number of tracks."""
        return max((int(tracks.max()) for _, tracks in self._names), default=0)

    def rename(self, t: int, ids: NDArray[np.integer]) -> NDArray[np.int32]:
        """Replace the ids of a frame by those of the tracks."""
        known, tracks = self._names[t]
        return tracks[positions(known, ids)]


def track_cells(cells: Image, settings: Segmentation = DEFAULTS) -> Tracks:
    """Follow cells from frame to frame.

    Parameters
    ----------
    cells : Image
        Ids without channels. Equal ids in two frames mean nothing: cells that were
        followed before are followed to the same tracks again.
    settings : Segmentation
        Only `track_distance` matters, here in pixels of the finest axis.

    Notes
    -----
    Cells of consecutive frames may be the same if they overlap, or if their centroids
    are no farther apart than the distance allowed, which is the earlier one's diameter
    unless given. The cost of a link is 1 less the overlap (IoU) plus the distance as a
    share of that allowed. A cell that is missing in one frame goes on in the next.
    Where a cell goes on and another appears, both are its daughters if they are smaller
    than it was, alike in size, and it was in the middle between them: then both have
    ids of their own, and it as parent.

    Memory does not grow with the number of frames, except for some dozen bytes for each
    cell.
    """
    frames = track_frames(cells, settings)
    while True:
        try:
            next(frames)
        except StopIteration as end:
            tracks: Tracks = end.value
            return tracks


def track_frames(
    cells: Image, settings: Segmentation = DEFAULTS
) -> Generator[None, None, Tracks]:
    """As `track_cells`, with None after each frame."""
    tracker = _Tracker(cells, settings.track_distance)
    for t in range(cells.size("t")):
        tracker.add(t)
        yield
    return tracker.tracks()


class _Frame(NamedTuple):
    """The cells of a frame, numbered from 0 by their position, whatever their ids."""

    ids: NDArray[np.int64]  # ascending, 0 first
    number: NDArray[np.intp]  # of each id, from 1 on; 0 of the background
    sizes: NDArray[np.int64]  # in pixels
    centres: NDArray[np.float64]  # (cells, axes), in pixels


class _Pairs(NamedTuple):
    """Cells of two frames that may be the same, by their numbers."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    cost: NDArray[np.float64]

    def at(self, where: NDArray[np.bool_] | NDArray[np.intp]) -> _Pairs:
        return _Pairs(self.first[where], self.second[where], self.cost[where])


class _Tracker:
    """Takes frame after frame, and gives each cell a track."""

    def __init__(self, cells: Image, distance: float) -> None:
        ndim = 3 if cells.size("z") > 1 else 2
        self._fields = list(cells.fields(ndim))  # one for each frame
        self._one_slice = ndim == 2 and "z" in cells.axes
        self._distance = distance
        self._spacing = np.array(cells.field_spacing(ndim))
        side = _PLANE if ndim == 2 else _VOLUME
        shape = self._fields[0].shape
        self._boxes = [block.core for block in cut(shape, side, unit=_CHUNK)]
        self._frames: list[_Frame] = []
        self._tracks: list[NDArray[np.int32]] = []  # of the cells of each frame
        # whether each cell of the frame before the last is gone in the last
        self._gone = np.zeros(0, bool)
        self._parents: dict[int, int] = {}
        self._last = 0

    def add(self, t: int) -> None:
        """Find the tracks of the cells of the next frame."""
        self._frames.append(_frame(self._fields[t], self._boxes))
        tracks = np.zeros(self._frames[t].sizes.size, np.int32)
        mothers = np.zeros_like(tracks)
        if t > 0:
            before = self._tracks[t - 1]
            pairs = self._pairs(t - 1, t)
            linked = pairs.at(_assigned(pairs))
            tracks[linked.second] = before[linked.first]
            self._bridge(t, tracks)
            new = pairs.at(tracks[pairs.second] == 0)
            own, other, mother = self._divided(t, new, linked)
            mothers[own] = mothers[other] = before[mother]
            tracks[own] = 0
            self._gone = np.isin(np.arange(before.size), linked.first, invert=True)
        begins = np.flatnonzero(tracks == 0)
        tracks[begins] = np.arange(self._last + 1, self._last + 1 + begins.size)
        self._last += begins.size
        born = mothers > 0
        self._parents |= zip(tracks[born].tolist(), mothers[born].tolist(), strict=True)
        self._tracks.append(tracks)

    def tracks(self) -> Tracks:
        """Return what was found."""
        rows, names = [], []
        for t, (tracks, frame) in enumerate(
            zip(self._tracks, self._frames, strict=True)
        ):
            rows.append(
                np.column_stack([tracks, np.full(tracks.size, t), frame.centres])
            )
            by_number = np.concatenate([np.zeros(1, np.int32), tracks])
            names.append((frame.ids, by_number[frame.number]))
        points = np.concatenate(rows)
        if self._one_slice:
            points = np.insert(points, 2, 0, axis=1)
        order = np.lexsort((points[:, 1], points[:, 0]))
        return Tracks(points[order], self._parents, tuple(names))

    def _bridge(self, t: int, tracks: NDArray[np.int32]) -> None:
        """Go on with cells that were missing in the one frame before."""
        if not self._gone.any() or tracks.all():
            return
        pairs = self._pairs(t - 2, t)
        pairs = pairs.at(self._gone[pairs.first] & (tracks[pairs.second] == 0))
        back = pairs.at(_assigned(pairs))
        tracks[back.second] = self._tracks[t - 2][back.first]

    def _divided(
        self, t: int, new: _Pairs, linked: _Pairs
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Find divisions: daughters linked to their mothers, other daughters, mothers.

        `new` are pairs with cells that appear, `linked` those of the same cell.
        """
        before, after = self._frames[t - 1], self._frames[t]
        goes_on_as = np.full(before.sizes.size, -1)
        goes_on_as[linked.first] = linked.second
        new = new.at(goes_on_as[new.first] >= 0)
        own = goes_on_as[new.first]
        mother = before.centres[new.first] * self._spacing
        daughters = after.centres[np.stack([own, new.second])] * self._spacing
        aside = np.linalg.norm(daughters.mean(0) - mother, axis=1)
        apart = np.linalg.norm(daughters[1] - daughters[0], axis=1)
        sizes = np.stack([after.sizes[own], after.sizes[new.second]])
        alike = sizes.min(0) >= _ALIKE * sizes.max(0)
        smaller = sizes.mean(0) < before.sizes[new.first]
        new = new.at((aside <= _ASIDE * apart) & alike & smaller)
        new = new.at(_mutual_best(new))
        return goes_on_as[new.first], new.second, new.first

    def _pairs(self, t: int, later: int) -> _Pairs:
        """Return which cells of two frames may be the same, and what each costs."""
        before, after = self._frames[t], self._frames[later]
        reach = self._reach(before)
        first, second, shared = self._overlaps(t, later)
        near = _near(
            before.centres * self._spacing, after.centres * self._spacing, reach
        )
        width = max(after.sizes.size, 1)
        keys, where = np.unique(
            np.concatenate([first * width + second, near[0] * width + near[1]]),
            return_inverse=True,
        )
        common = np.bincount(where[: shared.size], shared, keys.size)
        one, other = keys // width, keys % width
        iou = common / (before.sizes[one] + after.sizes[other] - common)
        steps = (before.centres[one] - after.centres[other]) * self._spacing
        far = np.linalg.norm(steps, axis=1) / reach[one]
        return _Pairs(one, other, 1 - iou + np.minimum(far, 1))

    def _reach(self, frame: _Frame) -> NDArray[np.float64]:
        """Return how far each cell may go, in pixels of the finest axis."""
        if self._distance > 0:
            return np.full(frame.sizes.size, self._distance)
        extent = frame.sizes * float(self._spacing.prod())
        flat = len(self._spacing) == 2
        reach: NDArray[np.float64] = (
            2 * np.sqrt(extent / pi) if flat else np.cbrt(6 * extent / pi)
        )
        return reach

    def _overlaps(self, t: int, later: int) -> Sequence[NDArray[np.int64]]:
        """Return the pairs of cells that overlap, and the pixels shared."""
        first, second, shared = add_overlaps(
            [
                count_overlaps(self._numbered(t, box), self._numbered(later, box))
                for box in self._boxes
            ]
        )
        return first - 1, second - 1, shared

    def _numbered(self, t: int, box: Box) -> NDArray[np.intp]:
        frame = self._frames[t]
        return frame.number[positions(frame.ids, self._fields[t].read(box)[0])]


def _frame(labels: Field, boxes: Sequence[Box]) -> _Frame:
    """Find the cells of a frame, box by box."""
    ids, rows = [np.zeros(1, np.int64)], [np.zeros((1, 1 + labels.ndim))]
    for box in boxes:
        part = labels.read(box)[0]
        there = distinct(part)
        at = positions(there, part).reshape(-1)
        columns = [np.bincount(at, minlength=there.size)]
        for axis, where in enumerate(box):
            along = np.arange(where.start, where.stop, dtype=float)
            along = along.reshape([-1 if a == axis else 1 for a in range(part.ndim)])
            columns.append(np.bincount(at, np.broadcast_to(along, part.shape).ravel()))
        ids.append(there.astype(np.int64))
        rows.append(np.stack(columns, axis=1))
    every, of = np.unique(np.concatenate(ids), return_inverse=True)
    sums = np.zeros((every.size, 1 + labels.ndim))
    np.add.at(sums, of, np.concatenate(rows))
    sizes = sums[1:, 0]  # without the background
    centres = sums[1:, 1:] / sizes[:, np.newaxis]
    order = np.lexsort((sizes, *centres.T[::-1]))
    number = np.zeros(every.size, np.intp)
    number[1 + order] = np.arange(1, every.size)
    return _Frame(every, number, sizes[order].astype(np.int64), centres[order])


def _near(
    before: NDArray[np.float64], after: NDArray[np.float64], reach: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of points at most the reach of the first apart."""
    from scipy.spatial import KDTree  # slow to import

    if not (len(before) and len(after)):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    found = KDTree(after).query_ball_point(before, reach, return_sorted=True)
    first = np.repeat(np.arange(len(before)), [len(one) for one in found])
    return first, np.array([k for one in found for k in one], np.intp)


def _assigned(pairs: _Pairs) -> NDArray[np.bool_]:
    """Choose links at the lowest total cost, unlinked cells included, none twice."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if not pairs.cost.size:
        return np.zeros(0, bool)
    first, rows = np.unique(pairs.first, return_inverse=True)
    second, columns = np.unique(pairs.second, return_inverse=True)
    n, m = first.size, second.size
    # each cell has a dummy: an unlinked cell is matched with its own, and the dummies
    # of two linked cells with each other
    weights = [pairs.cost, np.zeros(pairs.cost.size), np.full(n + m, _ALONE)]
    at = [rows, n + columns, np.arange(n + m)]
    to = [columns, m + rows, np.arange(m, m + n), np.arange(m)]
    # older scipy matches tables with indices of 32 bits only
    places = np.concatenate(at, dtype=np.int32), np.concatenate(to, dtype=np.int32)
    # an edge of weight 0 would be no edge; all matchings have as many edges
    table = csr_array((np.concatenate(weights) + 1, places), shape=(n + m, m + n))
    _, chosen = min_weight_full_bipartite_matching(table)
    taken: NDArray[np.bool_] = chosen[rows] == columns
    return taken


def _mutual_best(pairs: _Pairs) -> NDArray[np.intp]:
    """Return the pairs that are cheapest for both cells, of equal ones the first."""
    best = np.lexsort((pairs.second, pairs.first, pairs.cost))
    of_first = np.unique(pairs.first[best], return_index=True)[1]
    of_second = np.unique(pairs.second[best], return_index=True)[1]
    return best[np.intersect1d(of_first, of_second)]
