from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_unet.core.cells import merging
from napari_unet.core.cells.merging import Slab, merged


def one_by_one(first, at_edge, same, *, clear_border):
    """Number all parts at once, as slabs must not differ from."""
    links = coo_array(
        (np.ones(len(same), bool), (same[:, 0] - 1, same[:, 1] - 1)), (first.size,) * 2
    )
    count, cell = connected_components(links, directed=False)
    begin = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(begin, cell, first)
    keep = np.ones(count, bool)
    if clear_border:
        keep[cell[at_edge]] = False
    order = np.argsort(begin)
    order = order[keep[order]]
    number = np.zeros(count, np.uint32)
    number[order] = np.arange(1, order.size + 1)
    return number[cell]


@pytest.mark.parametrize("clear_border", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_slab_by_slab_numbers_are_those_of_all_at_once(seed, clear_border):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 60, rng.integers(1, 9))
    total = int(counts.sum())
    slabs = []
    for k, n in enumerate(counts):
        first = rng.choice(600, n, replace=False) + 600 * k
        slabs.append(Slab(first, rng.random(n) < 0.05))
    near = rng.integers(1, max(total, 1) + 1, (total // 8, 1))
    same = np.clip(near - rng.integers(0, 70, (total // 8, 2)), 1, max(total, 1))
    tables = list(merged(lambda: slabs, counts, same, clear_border=clear_border))
    assert [table.size for table in tables] == counts.tolist()
    if total:
        first = np.concatenate([slab.first for slab in slabs])
        edge = np.concatenate([slab.at_edge for slab in slabs])
        expected = one_by_one(first, edge, same, clear_border=clear_border)
        assert np.concatenate(tables).tolist() == expected.tolist()


def test_more_than_can_be_counted_is_refused(monkeypatch):
    slabs = [Slab(np.arange(5), np.zeros(5, bool))]
    same = np.array([[2, 1], [4, 3]])
    monkeypatch.setattr(merging, "_MOST_PAIRED", 3)
    with pytest.raises(ValueError, match="4 parts of cells lie in several blocks"):
        list(merged(lambda: slabs, [5], same))
    monkeypatch.setattr(merging, "_MOST_CELLS", 2)
    with pytest.raises(ValueError, match="more than 2 cells cannot be numbered"):
        list(merged(lambda: slabs, [5], same[:1]))
