from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.geometry.tiles import mirrored, plan, read_window
from napari_unet.core.images.image import Image


@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 17, 40])
@pytest.mark.parametrize("output", [4, 7, 12])
def test_targets_cover_each_pixel_once(length: int, output: int) -> None:
    count = np.zeros((length, 9), int)
    for tile in plan(count.shape, (output, 8), step=(4, 4), halo=(3, 3)):
        count[tile.target] += 1
    assert (count == 1).all()


def test_a_region_is_covered_once_and_nothing_else() -> None:
    count = np.zeros((30, 40), int)
    region = (slice(5, 23), slice(7, 8))
    for tile in plan(count.shape, (8, 8), step=(4, 4), halo=(3, 3), region=region):
        count[tile.target] += 1
    assert (count[region] == 1).all()
    assert count.sum() == 18


def test_windows_start_on_the_grid_of_the_image() -> None:
    tiles = plan((50, 50), (12, 12), step=(4, 4), halo=(3, 5))
    tiles += plan(
        (50, 50), (10, 10), step=(4, 4), halo=(3, 5), region=(slice(7, 9), slice(1, 33))
    )
    assert {(t.start[0] % 4, t.start[1] % 4) for t in tiles} == {(1, 3)}


def test_the_stride_drops_what_is_not_a_multiple_of_the_step() -> None:
    tiles = plan((800, 1), (388, 4), step=(16, 4), halo=(92, 0))
    assert [t.target[0].start for t in tiles] == [0, 384, 768]
    assert [t.start[0] for t in tiles] == [-92, 292, 676]


def test_inner_points_at_the_target_within_the_output() -> None:
    region = (slice(6, 20),)
    for tile in plan((30,), (9,), step=(4,), halo=(2,), region=region):
        origin = tile.start[0] + 2
        assert tile.inner[0].start + origin == tile.target[0].start
        assert tile.inner[0].stop + origin == tile.target[0].stop
        assert 0 <= tile.inner[0].start < tile.inner[0].stop <= 9


def test_tiles_nearest_to_the_focus_come_first() -> None:
    tiles = plan((40, 40), (8, 8), step=(4, 4), halo=(0, 0), focus=(35, 3))
    assert tiles[0].target == (slice(32, 40), slice(0, 8))
    assert tiles[-1].target == (slice(0, 8), slice(32, 40))
    assert len(tiles) == 25


def test_an_output_smaller_than_the_step_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least the network's step \(8, 8\)"):
        plan((10, 10), (4, 12), step=(8, 8), halo=(0, 0))


@pytest.mark.parametrize("region", [(slice(-1, 4),), (slice(0, 11),), (slice(4, 4),)])
def test_a_region_outside_the_image_is_refused(region: tuple[slice]) -> None:
    with pytest.raises(ValueError, match="not inside the image"):
        plan((10,), (4,), step=(4,), halo=(0,), region=region)


@pytest.mark.parametrize(
    ("start", "size", "length", "expected"),
    [
        (-2, 8, 4, [2, 1, 0, 1, 2, 3, 2, 1]),
        (-5, 11, 3, [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1]),
        (-1, 4, 2, [1, 0, 1, 0]),
        (-3, 5, 1, [0, 0, 0, 0, 0]),
        (2, 2, 9, [2, 3]),
    ],
)
def test_the_edge_pixel_is_not_repeated_and_small_images_fold_again(
    start: int, size: int, length: int, expected: list[int]
) -> None:
    assert mirrored(start, size, length).tolist() == expected


def test_mirroring_equals_numpy_reflect() -> None:
    row = np.arange(7)
    assert (row[mirrored(-20, 50, 7)] == np.pad(row, (20, 23), mode="reflect")).all()


def test_a_window_reads_only_the_pixels_it_shows() -> None:
    class Spy:
        shape, dtype = (20, 30), np.dtype(np.uint8)
        read: tuple[slice, ...] = ()

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            Spy.read = key
            return np.arange(600, dtype=np.uint8).reshape(20, 30)[key]

    field = next(Image(Spy(), "yx").fields(2))
    window = read_window(field, (-2, 10), (5, 6))
    assert Spy.read == (slice(0, 3), slice(10, 16))
    assert window.shape == (1, 5, 6)
    assert (window[0, 0] == window[0, 4]).all()


def test_a_window_of_a_volume_is_channel_first() -> None:
    data = np.random.default_rng(0).random((3, 4, 5, 2))
    field = next(Image(data, "zyxc").fields(3))
    window = read_window(field, (-1, -1, -1), (5, 6, 7))
    padded = np.pad(data, ((1, 1),) * 3 + ((0, 0),), mode="reflect")
    assert (window == np.moveaxis(padded, -1, 0)).all()
