from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.outlines import ellipse, extent, fill, trace
from object_cases import CASES, ids, random_labels


def outline(rows: np.ndarray) -> list[list[list[list[int]]]]:
    """Rings of the only object, each from its least corner on."""
    (found,) = trace(rows)
    return [[from_least(ring.tolist()) for ring in rings] for rings in found.polygons]


def from_least(ring: list[list[int]]) -> list[list[int]]:
    start = ring.index(min(ring))
    return ring[start:] + ring[:start]


def test_an_outline_runs_clockwise_along_pixel_edges_with_corners_at_turns_only():
    assert outline(ids("0000", "0110", "0100")) == [
        [[[1, 1], [3, 1], [3, 2], [2, 2], [2, 3], [1, 3]]]
    ]


def test_a_hole_is_a_ring_the_other_way_round_behind_the_outer_one():
    assert outline(ids("111", "101", "111")) == [
        [[[0, 0], [3, 0], [3, 3], [0, 3]], [[1, 1], [1, 2], [2, 2], [2, 1]]]
    ]


def test_pixels_that_touch_with_a_corner_are_two_pieces():
    assert outline(ids("10", "01")) == [
        [[[0, 0], [1, 0], [1, 1], [0, 1]]],
        [[[1, 1], [2, 1], [2, 2], [1, 2]]],
    ]


def test_an_outline_that_touches_itself_is_parted_into_ring_and_hole():
    outer = [[0, 1], [1, 1], [1, 0], [3, 0], [3, 3], [0, 3]]
    assert outline(ids("011", "101", "111")) == [
        [outer, [[1, 1], [1, 2], [2, 2], [2, 1]]]
    ]


def test_holes_that_touch_are_two_rings():
    (rings,) = outline(ids("1111", "1011", "1101", "1111"))
    assert [len(ring) for ring in rings] == [4, 4, 4]


def test_objects_come_in_the_order_of_their_ids_whatever_these_are():
    plane = ids("2013") * (2**30)
    assert [found.label for found in trace(plane)] == [2**30, 2 * 2**30, 3 * 2**30]
    assert trace(ids("00")) == []


def planes() -> list[np.ndarray]:
    labels = [labels for _, labels in CASES.values()]
    labels += [random_labels(seed)[1] for seed in range(40)]
    rng = np.random.default_rng(0)
    labels += [(rng.random((25, 25)) < share).astype(int) for share in (0.4, 0.6, 0.8)]
    return [plane for one in labels for plane in one.reshape(-1, *one.shape[-2:])]


def test_filling_outlines_gives_the_labels_back():
    for plane in planes():
        painted = np.zeros_like(plane)
        for found in trace(plane):
            rings = [ring for rings in found.polygons for ring in rings]
            assert fill(painted, rings, found.label) == 0
        np.testing.assert_array_equal(painted, plane)


def test_outlines_are_valid_polygons_with_the_area_of_the_pixels():
    shapely = pytest.importorskip("shapely")
    for plane in planes():
        for found in trace(plane):
            polygons = [shapely.Polygon(r[0], r[1:]) for r in found.polygons]
            assert all(polygon.is_valid for polygon in polygons)
            whole = shapely.MultiPolygon(polygons)
            assert whole.is_valid
            assert whole.area == np.count_nonzero(plane == found.label)
            assert extent(r[0] for r in found.polygons) == whole.bounds


def test_a_pixel_is_inside_if_its_centre_is():
    plane = np.zeros((3, 4), np.uint8)
    fill(plane, [np.array([[0.6, 0.4], [2.6, 0.4], [2.6, 1.6], [0.6, 1.6]])], 5)
    np.testing.assert_array_equal(plane, ids("0550", "0550", "0000"))
    # centres on the left and upper edge are in, those on the other edges are not
    fill(plane, [np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 1.5], [0.5, 1.5]])], 6)
    np.testing.assert_array_equal(plane, ids("6650", "0550", "0000"))


def test_what_lies_beyond_the_plane_is_left_out_and_what_is_hidden_is_counted():
    plane = ids("0022", "0022", "0000")
    square = np.array([[-5, -5], [3, -5], [3, 2], [-5, 2]])
    assert fill(plane, [square], 1) == 2
    np.testing.assert_array_equal(plane, ids("1112", "1112", "0000"))
    assert fill(plane, [square + 20], 1) == 0
    assert fill(plane, [], 1) == 0


def test_an_ellipse_has_the_pixels_whose_centres_it_has():
    plane = np.zeros((30, 40), int)
    fill(plane, [ellipse(3.2, 4.9, 21.5, 17.1)], 1)
    y, x = np.indices(plane.shape) + 0.5
    inside = ((x - 13.95) / 10.75) ** 2 + ((y - 13.45) / 8.55) ** 2 < 1
    np.testing.assert_array_equal(plane, inside)
