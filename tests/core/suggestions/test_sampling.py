"""Which frames and tiles are looked at."""

from __future__ import annotations

from math import prod

import numpy as np

from napari_unet.core.geometry.boxes import shape_of
from napari_unet.core.images.image import Image
from napari_unet.core.suggestions.sampling import (
    SIDE,
    boxes_of_plane,
    sample_frames,
    sample_tiles,
)


class Endless:
    """An image of any size, of which nothing may be read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __getitem__(self, key: object) -> None:
        raise AssertionError(key)


def test_tiles_cover_a_small_plane() -> None:
    for shape in ((300, 200), (190, 140), (520, 696)):
        seen = np.zeros(shape, int)
        for box in boxes_of_plane(Image(seen, "yx")):
            assert shape_of(box) == (SIDE, SIDE)
            seen[box] += 1
        # all but a rim between tiles, or beside one
        assert [(seen.any(axis=a) == 0).sum() <= 4 * SIDE // 8 for a in (0, 1)]
        assert np.count_nonzero(seen) > 0.85 * seen.size
    tiny = boxes_of_plane(Image(np.zeros((40, 500)), "yx"))
    assert {shape_of(box) for box in tiny} == {(40, SIDE)}


def test_frames_are_shared_out_and_evenly_spaced() -> None:
    assert sample_frames([1, 1, 3]) == ((0,), (0,), (0, 1, 2))
    short, long = sample_frames([2, 10_000])
    assert short == (0, 1)
    assert len(long) == 98
    assert np.ptp(np.diff(long)) <= 1
    many = sample_frames([1] * 250)
    assert sum(map(len, many)) == 100
    assert all(any(many[k : k + 4]) for k in range(240))


def test_tiles_of_all_images_times_and_slices_are_bounded() -> None:
    large = Image(Endless(50, 1000, 100_000, 100_000), "tzyx")
    small = Image(Endless(256, 256), "yx")
    frames = sample_frames([50, 1])
    places = sample_tiles([large, small], frames)
    assert 390 <= len(places) <= 400
    assert sum(place.image == 1 for place in places) == 4
    assert {place.t for place in places} == set(range(50))
    assert len({place.z for place in places}) > 200
    assert all(prod(shape_of(place.box)) == SIDE**2 for place in places)
    assert places == sample_tiles([large, small], frames)
