"""An image of which some planes are there, as an array of its whole size."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_ALL = "tczyx"


@dataclass(frozen=True, slots=True, eq=False)
class KeptPlanes:
    """Planes by time point and slice; all others read as zeros."""

    axes: str  # in the order tczyx
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    planes: Mapping[tuple[int, int], NDArray[Any]]  # (c, y, x); 0 for no axis t or z

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = self._keys(key)
        part = tuple(_as_slice(keys[axis]) for axis in "cyx")
        times, slices = (self._numbers(axis, keys[axis]) for axis in "tz")
        rows = [[self._plane(t, z)[part] for z in slices] for t in times]
        size = (len(times), len(slices), *self._empty[part].shape)
        block = np.array(rows, self.dtype).reshape(size).transpose(0, 2, 1, 3, 4)
        kept = (slice(None) if isinstance(keys[a], slice) else 0 for a in _ALL)
        return block[tuple(kept)]

    @property
    def _empty(self) -> NDArray[Any]:
        size = tuple(self._size(axis) for axis in "cyx")
        return np.broadcast_to(np.zeros((), self.dtype), size)

    def _plane(self, t: int, z: int) -> NDArray[Any]:
        plane = self.planes.get((t, z))
        return self._empty if plane is None else plane

    def _size(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def _numbers(self, axis: str, key: int | slice) -> list[int]:
        there = range(self._size(axis))
        return list(there[key]) if isinstance(key, slice) else [there[key]]

    def _keys(self, key: Any) -> dict[str, int | slice]:
        """Return what is asked for along each axis, 0 along those it has not."""
        given = list(key) if isinstance(key, tuple) else [key]
        at = given.index(...) if ... in given else len(given)
        rest = len(self.shape) - len(given) + (... in given)
        given[at : at + 1] = [slice(None)] * rest
        found: dict[str, int | slice] = dict.fromkeys(_ALL, 0)
        for axis, one in zip(self.axes, given, strict=True):
            found[axis] = one if isinstance(one, slice) else index(one)
        return found


def _as_slice(key: int | slice) -> slice:
    if isinstance(key, slice):
        return key
    return slice(key, key + 1 or None)
