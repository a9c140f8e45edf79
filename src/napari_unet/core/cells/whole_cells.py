"""Cells of a plane or volume that is larger than memory, part by part, each whole."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import find_objects

from napari_unet.core.cells.label_ids import distinct, numbered
from napari_unet.core.geometry.blocks import cut
from napari_unet.core.geometry.boxes import full_box

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.blocks import Block
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Field

# Pixels of a field up to which it is one part.
_WHOLE = 2**24
# What is read at a time of a larger one, and the chunk that it is stored in.
_PLANE, _VOLUME, _CHUNK = (2048, 2048), (32, 512, 512), 512


class Part(NamedTuple):
    """Some of the cells of a field."""

    box: Box  # of the field
    cells: NDArray[np.integer]  # the ids in it, 0 where a cell belongs to another part


class _Extents(NamedTuple):
    """Where the cells of a field are."""

    ids: NDArray[np.integer]
    block: NDArray[np.intp]  # the first that each is in
    start: NDArray[np.intp]  # (cells, axes), and one past the last pixel
    stop: NDArray[np.intp]


def whole_cells(labels: Field) -> Iterator[Part]:
    """Yield all cells of a field, each in one part; one part at least.

    Memory is that of a block and of the cells that reach into it. A field of up to
    `_WHOLE` pixels is one part, as it is.
    """
    if prod(labels.shape) <= _WHOLE:
        yield Part(full_box(labels.shape), labels.read()[0])
        return
    side = _PLANE if labels.ndim == 2 else _VOLUME
    blocks = cut(labels.shape, side, unit=_CHUNK)
    found = _extents(labels, blocks)
    for number in np.unique(found.block).tolist():
        own = found.block == number
        box = tuple(map(slice, found.start[own].min(0), found.stop[own].max(0)))
        cells = labels.read(box)[0]
        yield Part(box, np.where(np.isin(cells, found.ids[own]), cells, 0))
    if not found.ids.size:
        core = blocks[0].core
        yield Part(core, labels.read(core)[0])


def _extents(labels: Field, blocks: Sequence[Block]) -> _Extents:
    none = np.zeros((0, labels.ndim), np.intp)
    ids, first, start, stop = [none[:, 0]], [none[:, 0]], [none], [none]
    for number, block in enumerate(blocks):
        cells = labels.read(block.core)[0]
        there = distinct(cells)
        there = there[there > 0]
        boxes = find_objects(numbered([cells])[0])
        corner = [part.start for part in block.core]
        ids.append(there.astype(np.intp))
        first.append(np.full(there.size, number))
        if boxes:
            ends = np.array([[(s.start, s.stop) for s in box] for box in boxes])
            start.append(ends[..., 0] + corner)
            stop.append(ends[..., 1] + corner)
    every, of = np.unique(np.concatenate(ids), return_inverse=True)
    whole = _Extents(
        every,
        np.full(every.size, len(blocks)),
        np.full((every.size, labels.ndim), np.iinfo(np.intp).max),
        np.zeros((every.size, labels.ndim), np.intp),
    )
    np.minimum.at(whole.block, of, np.concatenate(first))
    np.minimum.at(whole.start, of, np.concatenate(start))
    np.maximum.at(whole.stop, of, np.concatenate(stop))
    return whole
