from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.cells.points import cell_points
from napari_unet.core.images.image import Image

TWO = (ClassInfo(name="a"), ClassInfo(name="b"))


def points_of(cells, probabilities, axes, classes=TWO, spacing=None):
    running = cell_points(
        Image(cells, axes),
        Image(cells, axes, spacing),
        classes,
        Image(probabilities, "c" + axes),
    )
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def test_a_point_is_the_weighted_centre_of_the_likeliest_class():
    cells = np.array([[1, 1, 0, 0], [0, 0, 7, 7]], np.int32)
    a = [[0.9, 0.3, 0.8, 0], [0, 0, 0.5, 0.5]]
    b = [[0.1, 0.1, 0.0, 0], [0, 0, 0.4, 1.0]]
    probabilities = np.array([np.zeros((2, 4)), a, b], np.float32)
    found = points_of(cells, probabilities, "yx", spacing=(0.5, 0.25))
    names = "label, t, class, confidence, z, y, x, y_um, x_um"
    assert ", ".join(found) == names
    assert found["label"].tolist() == [1, 7]
    assert found["class"].tolist() == ["a", "b"]
    np.testing.assert_allclose(found["confidence"], [0.6, 0.7], rtol=1e-6)
    # (0 · 0.9 + 1 · 0.3) / 1.2 and (2 · 0.4 + 3 · 1.0) / 1.4
    np.testing.assert_allclose(found["x"], [0.25, 3.8 / 1.4], rtol=1e-6)
    assert found["y"].tolist() == [0, 1]
    np.testing.assert_allclose(found["x_um"], found["x"] * 0.25)
    assert found["y_um"].tolist() == [0, 0.5]
    assert found["z"].tolist() == [0, 0]


def test_regions_have_no_points_and_lend_no_class():
    classes = (ClassInfo(name="tissue", kind="regions"), ClassInfo(name="nuclei"))
    cells = np.array([[0, 3, 3]], np.int32)
    probabilities = np.array([[[0, 0, 0]], [[0.9, 0.8, 0.8]], [[0.1, 0.25, 0.25]]])
    found = points_of(cells, probabilities, "yx", classes)
    assert found["class"].tolist() == ["nuclei"]
    np.testing.assert_allclose(found["confidence"], [0.25])
    assert found["x"].tolist() == [1.5]
    with pytest.raises(ValueError, match="all classes are of regions: tissue"):
        points_of(cells, probabilities[:2], "yx", classes[:1])


def test_a_movie_of_stacks_has_points_in_each_volume():
    cells = np.zeros((2, 3, 4, 5), np.uint16)
    cells[0, 0:2, 1, 2] = 1
    cells[1, 2, 3, 4] = 1  # another cell: ids begin anew
    probabilities = np.stack([1 - (cells > 0) * 0.5, (cells > 0) * 0.5])
    found = points_of(cells, probabilities, "tzyx", TWO[:1], (2.0, 0.5, 0.5))
    assert found["label"].tolist() == [1, 1]
    assert found["t"].tolist() == [0, 1]
    assert found["z"].tolist() == [0.5, 2]
    assert found["z_um"].tolist() == [1, 4]
    assert found["y"].tolist() == [1, 3]
    assert found["confidence"].tolist() == [0.5, 0.5]


def test_a_cell_where_nothing_was_predicted_is_in_the_middle_of_its_pixels():
    cells = np.array([[1, 1, 1, 0], [0, 0, 7, 7]], np.int32)
    probabilities = np.zeros((3, 2, 4), np.float32)
    probabilities[1, 1, 3] = 0.5
    found = points_of(cells, probabilities, "yx")
    assert found["x"].tolist() == [1, 3]
    assert found["y"].tolist() == [0, 1]
    assert found["confidence"].tolist() == [0, 0.25]


def test_without_cells_there_are_columns_and_no_rows():
    cells = np.zeros((4, 5), np.int32)
    found = points_of(cells, np.zeros((3, 4, 5), np.float32), "yx")
    assert {len(column) for column in found.values()} == {0}
    assert "x_um" not in found


@pytest.mark.parametrize("seed", range(5))
def test_points_are_those_of_each_cell_alone(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 9, 3))
    cells = rng.choice([0, 2, 5, 70_000], shape)
    probabilities = rng.random((3, *shape), np.float32)
    found = points_of(cells, probabilities, "zyx")
    for row, label in enumerate(found["label"].tolist()):
        own = cells == label
        best = probabilities[1:, own].mean(axis=1, dtype=float).argmax()
        weights = probabilities[1 + best, own].astype(float)
        centre = np.average(np.argwhere(own), axis=0, weights=weights)
        np.testing.assert_allclose([found[axis][row] for axis in "zyx"], centre)
        assert found["class"][row] == "ab"[best]
        assert found["confidence"][row] == pytest.approx(weights.mean())


def test_a_large_plane_has_the_points_of_one_in_one_piece():
    cells = np.zeros((4200, 4300), np.uint32)
    cells[1500:1520, 1530:1540] = 70_000  # across borders of blocks
    cells[3000, 40:43] = 2
    cells[4100, 40:43] = 2  # the same cell
    ramp = np.arange(4300, dtype=np.float32) / 4300
    probabilities = np.broadcast_to(ramp, (2, *cells.shape))
    found = points_of(cells, probabilities, "yx", TWO[:1])
    assert found["label"].tolist() == [2, 70_000]
    np.testing.assert_allclose(found["y"], [3550, 1509.5], rtol=1e-12)
    # the mean of i · i over that of i
    wanted = [(r * r).sum() / r.sum() for r in (np.r_[40:43], np.r_[1530:1540])]
    np.testing.assert_allclose(found["x"], wanted, rtol=1e-6)
