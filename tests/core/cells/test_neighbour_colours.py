from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_unet.core.cells.neighbour_colours import NeighbourColours, neighbours


def tissue(count: int, side: int = 300, seed: int = 0) -> np.ndarray:
    """Return cells that fill a square: each pixel is of the nearest centre."""
    rng = np.random.default_rng(seed)
    tree = cKDTree(rng.uniform(0, side, (count, 2)))
    places = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)
    return (tree.query(places)[1] + 1).reshape(side, side).astype(np.int32)


def test_neighbours_touch_or_have_a_gap_of_two_pixels() -> None:
    row = np.array([[7, 7, 2, 0, 0, 9, 9, 0, 0, 0, 4]])
    assert neighbours(row).tolist() == [[2, 7], [2, 9]]
    assert neighbours(row.T).tolist() == [[2, 7], [2, 9]]
    assert neighbours(row, first=3).tolist() == []


def test_neighbours_of_a_volume_lie_above_each_other_too() -> None:
    volume = np.array([[[5, 5]], [[6, 6]]], np.uint16)
    assert neighbours(volume).tolist() == [[5, 6]]


def test_ids_keep_their_colour_where_no_neighbour_has_it() -> None:
    colours = NeighbourColours(6, 6)
    assert not colours.separate(np.array([[1, 2], [2, 3]]))
    assert colours.of(np.array([1, 2, 3, 8])).tolist() == [1, 2, 3, 2]


def test_the_later_of_two_neighbours_gets_another_colour() -> None:
    colours = NeighbourColours(6, 6)
    pairs = np.array([[1, 7], [0, 7], [7, 8]])
    assert colours.separate(pairs)
    assert colours.of(np.array([1, 7])).tolist() == [1, 3]
    assert not colours.separate(pairs)


@pytest.mark.parametrize("seed", range(5))
def test_six_colours_are_enough_for_cells_in_a_plane(seed: int) -> None:
    labels = tissue(1500, seed=seed) * 6  # all begin with the same colour
    down = np.stack([labels[:-1].ravel(), labels[1:].ravel()], axis=1)
    right = np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], axis=1)
    pairs = np.unique(np.sort(np.concatenate([down, right]), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]].astype(np.int64)
    colours = NeighbourColours(6, 3)
    assert colours.separate(pairs)
    assert (colours.of(pairs[:, 0]) != colours.of(pairs[:, 1])).all()
    assert set(colours.of(np.unique(labels)).tolist()) <= set(range(6))


def test_colours_that_are_too_few_are_shared_by_few() -> None:
    pairs = np.array([[a, b] for b in range(1, 9) for a in range(1, b)], np.int64)
    colours = NeighbourColours(6, 6)
    colours.separate(pairs)
    same = colours.of(pairs[:, 0]) == colours.of(pairs[:, 1])
    assert same.sum() == 2  # eight that all touch each other: two pairs are too many
