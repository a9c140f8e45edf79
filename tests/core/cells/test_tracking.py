from __future__ import annotations

from math import pi

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from napari_unet.core.cells.instances import segment_image
from napari_unet.core.cells.tracking import Tracks, track_cells
from napari_unet.core.images.image import Image
from napari_unet.core.settings import Segmentation


def squares(*frames: dict[int, tuple[int, int, int, int]], shape=(40, 60)):
    """Frames with a rectangle (top, left, height, width) for each id."""
    movie = np.zeros((len(frames), *shape), np.uint16)
    for t, frame in enumerate(frames):
        for label, (top, left, height, width) in frame.items():
            movie[t, top : top + height, left : left + width] = label
    return movie


def tracked(
    movie: np.ndarray, axes: str = "tyx", um: tuple[float, ...] | None = None, **rest
) -> tuple[np.ndarray, Tracks]:
    tracks = track_cells(Image(movie, axes, um), Segmentation(**rest))
    return np.stack([tracks.rename(t, f) for t, f in enumerate(movie)]), tracks


def random_movie(seed: int, frames: int = 6) -> np.ndarray:
    """Cells that wander, vanish and appear, with ids that mean nothing in time."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(4, 56, (14, 2))
    movie = np.zeros((frames, 64, 64), np.int32)
    for t in range(frames):
        at += rng.normal(0, 2, at.shape)
        yx = np.indices((64, 64)).transpose(1, 2, 0)
        nearest = cdist(yx.reshape(-1, 2), at).reshape(64, 64, -1)
        names = rng.permutation(len(at)) + 1
        names[rng.random(len(at)) < 0.15] = 0
        movie[t] = np.where(nearest.min(-1) < 4, names[nearest.argmin(-1)], 0)
    return movie


def test_cells_keep_their_id_whatever_it_is_in_each_frame() -> None:
    first, second = (2, 3, 8, 8), (20, 30, 8, 8)
    movie = squares({1: first, 2: second}, {7: (21, 32, 8, 8), 9: (3, 4, 8, 8)})
    found, tracks = tracked(movie)
    expected = squares({1: first, 2: second}, {2: (21, 32, 8, 8), 1: (3, 4, 8, 8)})
    np.testing.assert_array_equal(found, expected)
    assert tracks.count == 2
    assert not tracks.parents
    # track, frame and centroid of each cell, as napari wants them
    assert tracks.points.tolist() == [
        [1, 0, 5.5, 6.5],
        [1, 1, 6.5, 7.5],
        [2, 0, 23.5, 33.5],
        [2, 1, 24.5, 35.5],
    ]


@pytest.mark.parametrize(("away", "count"), [(1, 1), (2, 2)])
def test_a_cell_may_be_missing_in_one_frame(away: int, count: int) -> None:
    cell, other = {5: (2, 3, 8, 8)}, {5: (20, 30, 8, 8)}
    movie = squares(cell | {6: other[5]}, *[other] * away, cell | {6: other[5]})
    found, tracks = tracked(movie)
    assert found[0, 3, 4] == 1
    assert found[-1, 3, 4] == (1 if away == 1 else 3)
    assert set(found[:, 21, 31].tolist()) == {2}
    assert tracks.count == 1 + count


def test_the_daughters_of_a_cell_have_it_as_parent() -> None:
    mother, other = (10, 10, 10, 10), (30, 45, 8, 8)
    daughters = {2: (10, 6, 9, 7), 3: (10, 17, 9, 6)}
    movie = squares(
        {1: mother, 2: other}, {1: other} | daughters, {1: other} | daughters
    )
    found, tracks = tracked(movie)
    later = {3: daughters[2], 4: daughters[3], 2: other}
    np.testing.assert_array_equal(found, squares({1: mother, 2: other}, later, later))
    assert tracks.parents == {3: 1, 4: 1}


@pytest.mark.parametrize(
    "comes",
    [
        (10, 21, 10, 10),  # beside a cell that stays where it was
        (10, 21, 2, 2),  # a piece
    ],
)
def test_what_comes_beside_a_cell_is_no_daughter(comes: tuple[int, ...]) -> None:
    cell = (10, 10, 10, 10)
    found, tracks = tracked(squares({1: cell}, {1: cell, 2: comes}))
    assert not tracks.parents
    assert found[1, 11, 11] == 1
    assert found[1, 10, 21] == 2


def test_all_cells_together_go_the_shortest_way() -> None:
    """The first of the second frame is nearer to the second of the first."""
    movie = squares(
        {1: (5, 10, 3, 3), 2: (5, 20, 3, 3)}, {1: (5, 17, 3, 3), 2: (5, 27, 3, 3)}
    )
    found, _ = tracked(movie, track_distance=20)
    assert found[1, 5, [17, 27]].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("step", "distance", "same"),
    # the diameter of a circle of 9 pixels is 3.39
    [(3, 0, True), (4, 0, False), (4, 4, True), (5, 4.9, False), (3, 2, False)],
)
def test_a_cell_goes_no_farther_than_allowed(
    step: int, distance: float, same: bool
) -> None:
    movie = squares({1: (5, 10, 3, 3)}, {1: (5, 10 + step, 3, 3)})
    _, tracks = tracked(movie, track_distance=distance)
    assert tracks.count == (1 if same else 2)


@pytest.mark.parametrize("seed", range(8))
def test_links_are_those_of_least_cost(seed: int) -> None:
    movie = random_movie(seed, 2)
    ids = [np.unique(frame)[1:] for frame in movie]
    masks = [
        np.stack([frame == i for i in each]).reshape(len(each), -1)
        for frame, each in zip(movie, ids, strict=True)
    ]
    centres = [
        np.stack([np.argwhere(m.reshape(64, 64)).mean(0) for m in each])
        for each in masks
    ]
    sizes = [each.sum(1) for each in masks]
    common = masks[0].astype(int) @ masks[1].T
    iou = common / (sizes[0][:, None] + sizes[1] - common)
    far = cdist(*centres) / (2 * np.sqrt(sizes[0] / pi))[:, None]
    cost = np.where((iou > 0) | (far <= 1), 1 - iou + np.minimum(far, 1), 1e6)
    n, m = cost.shape
    table = np.full((n + m, n + m), 1e6)
    table[:n, :m], table[n:, m:] = cost, 0
    table[np.arange(n), m + np.arange(n)] = 1
    table[n + np.arange(m), np.arange(m)] = 1
    pairs = zip(*linear_sum_assignment(table), strict=True)
    wanted = {(ids[0][a], ids[1][b]) for a, b in pairs if a < n and b < m}
    _, tracks = tracked(movie)
    before, after = (tracks.rename(t, i) for t, i in enumerate(ids))
    sisters = dict(tracks.parents)
    found = {
        (a, b)
        for a, one in zip(ids[0], before, strict=True)
        for b, other in zip(ids[1], after, strict=True)
        if one == other or sisters.get(int(other)) == one
    }
    assert wanted <= found
    assert len(found - wanted) == len(sisters) / 2  # the second daughters


@pytest.mark.parametrize("seed", range(5))
def test_the_ids_in_a_frame_do_not_matter(seed: int) -> None:
    movie = random_movie(seed)
    found, tracks = tracked(movie)
    assert 14 <= tracks.count < np.unique(found).size + 1
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.arange(1, 15)) * 286_331_153  # up to 2 ** 32 - 1
    other = np.concatenate([[0], names]).astype(np.uint32)[movie]
    for again in (other, found):
        same, tracks_again = tracked(again)
        np.testing.assert_array_equal(same, found)
        np.testing.assert_array_equal(tracks_again.points, tracks.points)
        assert tracks_again.parents == tracks.parents


def test_frames_larger_than_a_box_are_followed_as_a_whole() -> None:
    """A cell over the border between two boxes, which meet at column 1536."""
    frame = {3: (1, 1500, 6, 80), 5: (1, 2200, 6, 6)}
    shape = (8, 2300)
    found, tracks = tracked(squares(frame, {4: frame[3], 1: frame[5]}, shape=shape))
    expected = {1: frame[3], 2: frame[5]}
    np.testing.assert_array_equal(found, squares(expected, expected, shape=shape))
    np.testing.assert_allclose(tracks.points[0], [1, 0, 3.5, 1539.5])


def test_volumes_are_followed_in_their_own_proportions() -> None:
    movie = np.zeros((2, 9, 20, 20), np.uint8)
    movie[0, 1:3, 5:9, 5:9] = 1
    movie[1, 4:6, 5:9, 5:9] = 1
    # 3 slices of 2 µm are 6 pixels of 1 µm: within the diameter of a ball of 64 µm³,
    # 4.96 µm, only where slices are as thin as pixels
    assert tracked(movie, "tzyx", (1, 1, 1))[1].count == 1
    found, tracks = tracked(movie, "tzyx", (2, 1, 1), track_distance=5.9)
    assert tracks.count == 2
    assert tracked(movie, "tzyx", (2, 1, 1), track_distance=6.1)[1].count == 1
    np.testing.assert_array_equal(found, movie * np.array([1, 2]).reshape(2, 1, 1, 1))
    assert tracks.points.tolist() == [[1, 0, 1.5, 6.5, 6.5], [2, 1, 4.5, 6.5, 6.5]]


def test_a_stack_of_one_slice_is_a_plane() -> None:
    movie = squares({1: (5, 10, 3, 3)}, {1: (5, 13, 3, 3)})[:, None]
    found, tracks = tracked(movie, "tzyx")
    assert found.max() == 1
    assert tracks.points.tolist() == [[1, 0, 0, 6, 11], [1, 1, 0, 6, 14]]


def test_frames_without_cells() -> None:
    none = np.zeros((3, 5, 5), np.uint8)
    found, tracks = tracked(none)
    assert not found.any()
    assert tracks.count == 0
    assert tracks.points.shape == (0, 4)
    none[1, 2, 2] = 9
    found, tracks = tracked(none)
    np.testing.assert_array_equal(found, none // 9)


def test_cells_of_an_image_are_followed_where_the_settings_say() -> None:
    movie = squares({1: (20, 30, 8, 8)}, {1: (2, 3, 8, 8), 2: (21, 31, 8, 8)})
    p = np.stack([movie == 0, movie > 0]).astype(np.float32)
    image = Image(p, "ctyx")
    alone = segment_image(image, 2)
    assert alone[:, 25, 35].tolist() == [1, 2]
    followed = segment_image(image, 2, Segmentation(track=True))
    assert followed[:, 25, 35].tolist() == [1, 1]
    assert followed[1, 5, 5] == 2
    # a single frame has nothing to follow
    one = Image(p[:, :1], "ctyx")
    np.testing.assert_array_equal(
        segment_image(one, 2, Segmentation(track=True)), alone[:1]
    )
