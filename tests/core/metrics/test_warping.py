from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_unet.core.metrics.warping import (
    _simple_points,
    splits_and_merges,
    warp,
    warping_error,
)

EIGHT = np.ones((3, 3))


def mask(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def mistakes(truth, proposal):
    certainty = np.ones(truth.shape)
    return splits_and_merges(warp(truth, proposal, certainty), proposal)


def components(image):
    """Objects (4-connected), pieces of background (8-connected) with the outside."""
    return ndimage.label(image)[1], ndimage.label(~np.pad(image, 1), EIGHT)[1]


@pytest.mark.parametrize(
    ("patch", "simple"),
    [
        (mask("...", "#.#", "..."), False),  # would join two objects
        (mask("...", "##.", "..."), True),  # end of a line
        (mask("###", "###", "###"), False),  # would open a hole
        (mask("###", "#.#", "#.#"), True),  # bottom of a bay
        (mask("#..", "...", "..."), False),  # meets an object at a corner only
        (mask("#..", "##.", "..."), True),
        (mask("##.", "##.", "..#"), True),  # the corner on the right is apart already
        (mask("###", "#.#", "##."), True),  # background meets at a corner: connected
        (mask("...", "...", "..."), False),  # would add an object
    ],
)
def test_a_point_is_simple_if_flipping_keeps_the_topology(patch, simple):
    steps = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    code = sum(1 << i for i, step in enumerate(steps) if patch[step])
    assert _simple_points()[code] == simple


def test_116_of_256_neighbourhoods_are_simple():
    assert _simple_points().sum() == 116


def test_a_shifted_border_is_no_mistake():
    truth = mask("##.###", "##.###", "##.###")
    moved = mask("###.##", "###.##", "###.##")
    assert (warp(truth, moved, np.ones(truth.shape)) == moved).all()
    assert warping_error(moved, truth).error == 0


def test_an_object_cut_in_two_is_one_split_pixel():
    truth = mask("#####", "#####", "#####", "#####", "#####")
    cut = mask("##.##", "##.##", "##.##", "##.##", "##.##")
    assert mistakes(truth, cut) == (1, 0)
    assert warping_error(cut, truth).error == 1 / 25


def test_the_pixel_of_least_certainty_is_left():
    truth = mask("###", "###", "###")
    cut = mask("#.#", "#.#", "#.#")
    certainty = np.array([[1, 0.1, 1], [1, 0.5, 1], [1, 0.9, 1]])
    assert warp(truth, cut, certainty).tolist() == mask("###", "#.#", "#.#").tolist()


def test_a_gap_in_the_membrane_is_one_merge_pixel():
    truth = mask("##.##", "##.##", "##.##")
    assert mistakes(truth, mask("##.##", "#####", "##.##")) == (0, 1)


def test_a_missing_membrane_is_a_merge_at_each_pixel():
    truth = mask("##.##", "##.##", "##.##")
    assert mistakes(truth, mask("#####", "#####", "#####")) == (0, 3)


@pytest.mark.parametrize(
    ("truth", "proposal"),
    [
        # a hole added, a hole deleted
        (mask("#####", "#####", "#####"), mask("#####", "##.##", "#####")),
        (mask("#####", "##.##", "#####"), mask("#####", "#####", "#####")),
        # an object added, an object deleted
        (mask("...", "...", "..."), mask("...", ".#.", "...")),
        (mask("...", ".#.", "..."), mask("...", "...", "...")),
        # a ring opened: it stays in one piece, around the other side
        (
            mask("#####", "#...#", "#...#", "#####"),
            mask("#####", "#...#", "#...#", "##.##"),
        ),
    ],
)
def test_holes_and_lone_objects_cost_nothing(truth, proposal):
    assert mistakes(truth, proposal) == (0, 0)


def test_the_image_edge_is_background():
    # cutting off the corner must stay possible at the edge
    truth = mask("###", "###")
    corner = mask(".##", "###")
    assert (warp(truth, corner, np.ones((2, 3))) == corner).all()


def test_warping_keeps_the_number_of_objects_and_holes():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, proposal = (
            ndimage.gaussian_filter(rng.random((2, 30, 30)), (0, 1, 1)) > 0.5
        )
        warped = warp(truth, proposal, rng.random(truth.shape))
        assert components(warped) == components(truth)
        assert (warped != proposal).sum() < (truth != proposal).sum()


def test_mistakes_agree_with_labelling_the_whole_image_again():
    rng = np.random.default_rng(1)
    total = np.zeros(2, int)
    for _ in range(20):
        warped, proposal = (
            ndimage.gaussian_filter(rng.random((2, 24, 24)), (0, 1, 1)) > 0.5
        )
        expected = [0, 0]
        padded = np.pad(warped, 1)
        for row, column in np.argwhere(warped != proposal):
            around = np.s_[row : row + 3, column : column + 3]
            ids = ndimage.label(padded)[0][around].ravel()[[0, 1, 2, 3, 5, 6, 7, 8]]
            if not warped[row, column]:
                expected[1] += np.unique(ids).size >= 3
                continue
            if np.unique(ids).size == 2:
                without = padded.copy()
                without[row + 1, column + 1] = False
                ids = ndimage.label(without)[0][around].ravel()[
                    [0, 1, 2, 3, 5, 6, 7, 8]
                ]
            expected[0] += np.unique(ids).size >= 3
        assert splits_and_merges(warped, proposal) == tuple(expected)
        total += expected
    assert (total > 10).all()


def test_the_best_threshold_counts_and_ties_take_the_lowest():
    truth = mask("##.##", "##.##", "##.##")
    probability = np.where(truth, 0.75, 0.35)
    best = warping_error(probability, truth)
    assert (best.error, best.threshold) == (0, 0.4)


def test_the_highest_threshold_is_below_one():
    # 0.95 is object at every threshold up to 0.9: the two are always merged
    truth = mask("##.##")
    assert warping_error(np.full((1, 5), 0.95), truth).error == 1 / 5


def test_pixels_are_pooled_over_slices_of_several_sizes():
    truths = [mask("##.##", "##.##"), mask("##########")]
    proposals = [mask("##.##", "#####"), mask("##########")]
    assert warping_error(proposals, truths).error == 1 / 20
