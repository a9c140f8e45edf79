"""Cells parted by what is seen along the whole of their borders."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from napari_unet.core.cells import multicut as module
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.settings import Segmentation

pytest.importorskip("bioimage_cpp")

SETTINGS = Segmentation(cells_by="multicut")


def said(foreground: np.ndarray) -> np.ndarray:
    """Probabilities of background and cells."""
    return np.stack([1 - foreground, foreground]).astype(np.float32)


def two_rooms(hole: int, through: float = 0.75) -> np.ndarray:
    """Two rooms of 40 × 30 pixels, with a hole in the wall of three between them."""
    image = np.full((50, 75), 0.02)
    image[5:45, 5:35] = image[5:45, 38:68] = 0.98
    image[25 - hole // 2 : 25 + hole - hole // 2, 35:38] = through
    return image


def test_a_hole_in_a_wall_does_not_join_two_cells() -> None:
    rooms = segment_instances(said(two_rooms(12)), SETTINGS)
    assert rooms.max() == 2
    assert rooms[25, 20] != rooms[25, 50]
    # at the threshold they are one area
    joined = Segmentation(min_distance=30, neck=1)
    assert segment_instances(said(two_rooms(12)), joined).max() == 1


def test_where_most_of_the_wall_is_missing_it_is_one_cell() -> None:
    assert segment_instances(said(two_rooms(36, 0.95)), SETTINGS).max() == 1


def test_the_share_of_membrane_that_parts_is_a_setting() -> None:
    values = said(two_rooms(20))
    counts = [
        segment_instances(values, SETTINGS.replace(membrane=share)).max()
        for share in (0.2, 0.9)
    ]
    assert counts == [2, 1]


def test_a_waist_without_membrane_is_no_border() -> None:
    y, x = np.mgrid[:60, :120]
    dumbbell = ((y - 30) ** 2 + (x - 32) ** 2 < 24**2) | (
        (y - 30) ** 2 + (x - 88) ** 2 < 24**2
    )
    dumbbell[15:46, 32:88] = True
    values = said(np.where(dumbbell, 0.98, 0.02))
    assert segment_instances(values, Segmentation(neck=0.2)).max() == 2
    assert segment_instances(values, SETTINGS.replace(neck=0.2)).max() == 1


def test_a_pixel_is_cell_where_its_probability_is_above_the_threshold() -> None:
    values = said(two_rooms(12))
    cells = segment_instances(values, SETTINGS.replace(ridge=0, fill_holes=False))
    np.testing.assert_array_equal(cells > 0, values[1] > 0.5)


@pytest.mark.parametrize("values", [0.0, 1.0])
def test_nothing_and_all_of_an_image_can_be_cell(values: float) -> None:
    cells = segment_instances(said(np.full((30, 40), values)), SETTINGS)
    assert (cells == values).all()


def test_walls_part_cells_of_a_volume() -> None:
    volume = np.full((12, 30, 45), 0.98)
    volume[:, :, 21:24] = 0.05
    volume[4:7, 12:17, 21:24] = 0.8
    cells = segment_instances(said(volume), SETTINGS, spacing=(2.0, 1.0, 1.0))
    assert cells.max() == 2
    assert cells[6, 14, 5] != cells[6, 14, 40]


def test_classes_of_cells_are_parted_each_on_its_own() -> None:
    one = np.full((40, 60), 0.02)
    one[5:35, 5:29] = 0.96
    other = np.full((40, 60), 0.02)
    other[5:35, 29:55] = 0.96
    values = np.stack([1 - one - other + 0.02, one, other]).astype(np.float32)
    cells = segment_instances(values, SETTINGS)
    assert cells.max() == 2
    np.testing.assert_array_equal(cells[10, [10, 28, 29, 50]], [1, 1, 2, 2])


def test_the_mean_along_each_border_is_of_the_side_that_is_more_membrane() -> None:
    pieces = np.array([[1, 1, 2], [3, 0, 2]], np.int32)
    values = np.array([[0.1, 0.2, 0.4], [0.9, 0.0, 0.6]], np.float32)
    pairs, mean = module._borders(pieces, values)
    np.testing.assert_array_equal(pairs, [[1, 2], [1, 3]])
    np.testing.assert_allclose(mean, [0.4, 0.9], atol=1e-7)


def gain(parts: np.ndarray, pairs: np.ndarray, gains: np.ndarray) -> float:
    """What merging pieces into parts brings."""
    return float(gains[parts[pairs[:, 0]] == parts[pairs[:, 1]]].sum())


def test_the_solver_finds_the_best_of_all_ways_to_merge() -> None:
    best_of_all, found = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        every = np.array([(a, b) for a in range(6) for b in range(a + 1, 6)])
        pairs = every[rng.random(len(every)) < 0.7]
        gains = rng.normal(0, 1, len(pairs))
        ways = product(*(range(k + 1) for k in range(6)))
        best_of_all.append(max(gain(np.array(w), pairs, gains) for w in ways))
        found.append(gain(module._merge(6, pairs, gains), pairs, gains))
    lost = np.subtract(best_of_all, found)
    assert (lost > -1e-9).all()
    # it is a heuristic, if a good one
    assert (lost < 1e-9).sum() >= 36


def test_cells_far_away_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    walls = np.full((120, 120), 0.95)
    for at in range(20, 120, 20):
        walls[at - 1 : at + 2] = walls[:, at - 1 : at + 2] = 0.1
    walls = np.clip(walls + rng.normal(0, 0.04, walls.shape), 0, 1)
    around = np.full((120, 300), 0.01)
    around[:, :120] = walls
    alone = segment_instances(said(walls), SETTINGS)
    beside = around.copy()
    beside[:, 180:] = walls
    cells = segment_instances(said(beside), SETTINGS)[:, :116]
    assert alone.max() == 36
    # numbers are given along lines, through all cells
    ids = np.unique(np.stack([alone[:, :116], cells]).reshape(2, -1), axis=1)
    assert ids.shape[1] == len(np.unique(ids[0])) == len(np.unique(ids[1]))
