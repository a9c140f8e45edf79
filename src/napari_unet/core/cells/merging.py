"""Ids for cells whose parts were found in blocks.

Ids are 1, 2, … in the order in which a scan line by line meets the cells. Most cells
have a single part, which only has to be counted. A slab is the blocks side by side
along all axes but the first: its pixels come before those of the next, so each is
sorted on its own. Memory is that of the pairs of parts and of one slab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

# Parts of cells that have several: scipy counts them in 32 bits.
_MOST_PAIRED = 2**31 - 1
_MOST_CELLS = 2**32 - 1


class Slab(NamedTuple):
    """The parts of one slab, in the order of their ids."""

    first: NDArray[np.int64]  # pixel of each, counted line by line through the field
    at_edge: NDArray[np.bool_]  # whether it touches the field's edge


def merged(
    slabs: Callable[[], Iterable[Slab]],
    counts: Sequence[int],
    same: NDArray[np.int64],
    *,
    clear_border: bool = False,
) -> Iterator[NDArray[np.uint32]]:
    """Return the ids of the cells that parts belong to.

    Parameters
    ----------
    slabs : callable
        Returns the slabs of a field in their order; it is called more than once.
    counts : sequence of int
        Parts of each slab. Their ids are 1, 2, … through all slabs.
    same : ndarray of int64, shape (pairs, 2)
        Ids of two parts of one cell.
    clear_border : bool
        Whether cells are dropped of which a part touches the field's edge.

    Yields
    ------
    ndarray of uint32, shape (parts,)
        The ids of the cells of each slab's parts, 0 for a dropped cell.

    Raises
    ------
    ValueError
        There are more cells, or parts of divided cells, than can be counted.
    """
    groups = _Groups.of(same, np.cumsum([0, *counts]))
    if clear_border:
        for k, slab in enumerate(slabs()):
            groups.drop(k, slab.at_edge)
    last = 0
    for k, (first, at_edge) in enumerate(slabs()):
        keep = ~at_edge if clear_border else np.ones(first.size, bool)
        local, group = groups.inside(k)
        keep[local] = False  # these are counted by group
        new, begin = groups.begun(group, first[local])
        keys = np.concatenate([first[keep], begin])
        if last + keys.size > _MOST_CELLS:
            raise ValueError(f"more than {_MOST_CELLS} cells cannot be numbered.")
        number = np.empty(keys.size, np.uint32)
        # no two begin at one pixel
        number[np.argsort(keys)] = np.arange(last + 1, last + 1 + keys.size)
        last += keys.size
        table = np.zeros(first.size, np.uint32)
        alone = keys.size - begin.size
        table[keep] = number[:alone]
        groups.number[new] = number[alone:]
        table[local] = groups.number[group]
        yield table


class _Groups:
    """The parts of cells that have several: each group is one cell."""

    def __init__(
        self,
        ids: NDArray[np.int64],
        group: NDArray[np.integer],
        offsets: NDArray[np.int64],
    ) -> None:
        self._ids, self._group, self._offsets = ids, group, offsets
        # where the parts of each slab begin among the ids
        self._bounds = np.searchsorted(ids, offsets + 1)
        count = int(group.max(initial=-1)) + 1
        self.number = np.zeros(count, np.uint32)  # id of each group, 0 until it has one
        self._dropped = np.zeros(count, bool)

    @classmethod
    def of(cls, same: NDArray[np.int64], offsets: NDArray[np.int64]) -> _Groups:
        ids = np.sort(same, axis=None)  # np.unique takes several times as long
        ids = ids[np.flatnonzero(np.diff(ids, prepend=0))]
        if ids.size > _MOST_PAIRED:
            raise ValueError(
                f"{ids.size} parts of cells lie in several blocks, allowed are "
                f"{_MOST_PAIRED}; take larger blocks."
            )
        if not ids.size:
            return cls(ids, ids, offsets)
        first, second = (
            np.searchsorted(ids, same[:, 0]),
            np.searchsorted(ids, same[:, 1]),
        )
        links = coo_array((np.ones(len(first), bool), (first, second)), (ids.size,) * 2)
        return cls(ids, connected_components(links, directed=False)[1], offsets)

    def inside(self, slab: int) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
        """Return the parts of a slab that are in a group, from 0, and their groups."""
        mine = slice(*self._bounds[slab : slab + 2])
        return self._ids[mine] - 1 - self._offsets[slab], self._group[mine]

    def drop(self, slab: int, at_edge: NDArray[np.bool_]) -> None:
        """Drop the cells of which a part of the slab touches the edge."""
        local, group = self.inside(slab)
        self._dropped[group[at_edge[local]]] = True

    def begun(
        self, group: NDArray[np.integer], first: NDArray[np.int64]
    ) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
        """Return the groups whose first pixel is in a slab, and that pixel."""
        fresh = (self.number[group] == 0) & ~self._dropped[group]
        new, at = np.unique(group[fresh], return_inverse=True)
        begin = np.full(new.size, np.iinfo(np.int64).max)
        np.minimum.at(begin, at, first[fresh])
        return new, begin
