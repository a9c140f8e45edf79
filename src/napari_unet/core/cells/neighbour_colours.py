"""Which cells lie next to each other, and colours in which neighbours differ."""

from __future__ import annotations

from collections import defaultdict
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

GAP = 3
"""Pixels between two neighbours at the most: narrower gaps are hardly seen."""


def neighbours(labels: NDArray[np.integer], first: int = 1) -> NDArray[np.int64]:
    """Return the pairs of cells that touch, or nearly touch, along an axis.

    Parameters
    ----------
    labels : ndarray of int, of any shape
    first : int
        Lower values are no cells.

    Returns
    -------
    ndarray of int64, shape (number of pairs, 2)
        The lower id first; each pair once.
    """
    found = [
        _along(labels, axis, step, first)
        for axis in range(labels.ndim)
        for step in (1, GAP)
    ]
    pairs = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1)


def _along(
    labels: NDArray[np.integer], axis: int, step: int, first: int
) -> NDArray[np.int64]:
    """Return the pairs that are `step` pixels apart along an axis, each as one number.

    A set of pairs would take many times as long.
    """
    # cells are more than a pixel wide, so every few lines are enough
    every = [slice(None, None, step)] * labels.ndim
    every[axis] = slice(None)
    lines = np.ascontiguousarray(labels[tuple(every)])
    flat, size = lines.reshape(-1), labels.shape[axis]
    inner = prod(lines.shape[axis + 1 :])
    # most pixels are like their neighbour: only the others matter
    at = np.flatnonzero(flat[step * inner :] != flat[: -step * inner])
    here, there = flat[at], flat[at + step * inner]
    kept = (here >= first) & (there >= first)
    # the end of a line and the beginning of the next are no neighbours
    kept &= at // inner % size < size - step
    here, there = here[kept].astype(np.int64), there[kept].astype(np.int64)
    return np.unique(np.minimum(here, there) << 32 | np.maximum(here, there))


class NeighbourColours:
    """Colour numbers of ids, changed only where neighbours would have the same.

    An id has colour `id % first` until that is the colour of a neighbour: the first
    colours are those that differ most. Six colours are enough for cells in a plane that
    are connected: there is always one with five neighbours or less, and the cell with
    the fewest neighbours is coloured last (smallest-last ordering, Matula and Beck
    1983). Where six are not enough, as few neighbours as possible share one.
    """

    def __init__(self, count: int, first: int) -> None:
        self._count, self._first = count, first
        self.other: dict[int, int] = {}
        """Colours of the ids that may differ from `id % first`."""

    def of(self, ids: NDArray[np.integer]) -> NDArray[np.intp]:
        """Return the colours of ids."""
        colours = (ids % self._first).astype(np.intp)
        if self.other:
            known = np.isin(ids, np.fromiter(self.other, np.int64, len(self.other)))
            colours[known] = [self.other[i] for i in ids[known].tolist()]
        return colours

    def renamed(self, was: NDArray[np.integer]) -> NeighbourColours:
        """Return the colours of the same cells under other ids.

        `was` maps the other ids to the ids here, 0 for new cells.
        """
        found = NeighbourColours(self._count, self._first)
        ids = np.flatnonzero(was)
        colours = self.of(was[ids])
        found.other = dict(zip(ids.tolist(), colours.tolist(), strict=True))
        return found

    def separate(self, pairs: NDArray[np.int64]) -> bool:
        """Give neighbours different colours; return whether any changed.

        `pairs`, shape (number, 2), are all of a plane: a changed id must differ from
        all its neighbours.
        """
        same = self.of(pairs[:, 0]) == self.of(pairs[:, 1])
        if not same.any():
            return False
        near: dict[int, set[int]] = defaultdict(set)
        for one, other in pairs.tolist():
            near[one].add(other)
            near[other].add(one)
        # the higher one was painted or found later: the other keeps its colour
        for low, high in pairs[same].tolist():
            if self._one(low) == self._one(high) and not (
                self._change(high, near[high]) or self._change(low, near[low])
            ):
                self._colour_anew(near)
                break
        return True

    def _one(self, id_: int) -> int:
        return self.other.get(id_, id_ % self._first)

    def _change(self, id_: int, near: Iterable[int]) -> bool:
        """Give an id a colour that no neighbour has; False if there is none."""
        taken = {self._one(n) for n in near}
        free = next((k for k in range(self._count) if k not in taken), None)
        if free is not None:
            self.other[id_] = free
        return free is not None

    def _colour_anew(self, near: dict[int, set[int]]) -> None:
        """Colour all from the beginning, those with few neighbours last."""
        left = {id_: set(others) for id_, others in near.items()}
        by_degree: dict[int, set[int]] = defaultdict(set)
        for id_, others in left.items():
            by_degree[len(others)].add(id_)
        order = []
        while left:
            degree = min(d for d, ids in by_degree.items() if ids)
            id_ = by_degree[degree].pop()
            order.append(id_)
            for other in left.pop(id_):
                by_degree[len(left[other])].discard(other)
                left[other].discard(id_)
                by_degree[len(left[other])].add(other)
        done: dict[int, int] = {}
        for id_ in reversed(order):
            counts = [0] * self._count
            for other in near[id_]:
                if other in done:
                    counts[done[other]] += 1
            done[id_] = counts.index(min(counts))
        self.other.update(done)
