from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_unet.core.cells.instances import segment_image
from napari_unet.core.events import BlockDone
from napari_unet.core.images.image import Image
from napari_unet.core.metrics.objects import average_precision
from napari_unet.core.settings import Segmentation
from napari_unet.engine.inference.block_segmentation import BlockSegmentation
from napari_unet.engine.inference.block_sizes import BlockSizes
from napari_unet.io.images import read_image
from napari_unet.io.resumable_output import ResumableOutput

ALL = Segmentation(min_size=0)
SMALL = BlockSizes(whole=0, plane=(64, 64), plane_margin=48)


def noise(shape, sigma, seed=3, level=0.25):
    """Blobs as a network gives them: soft edges, many that touch, all sizes."""
    rng = np.random.default_rng(seed)
    rough = gaussian_filter(rng.normal(size=shape), sigma)
    return (1 / (1 + np.exp(-4 * (rough / rough.std() - level)))).astype(np.float32)


def two(p, axis=0):
    return np.stack([1 - p, p], axis)


def in_blocks(image, ndim, sizes, folder, settings=ALL, classes=None, *, whole=True):
    """Segment block by block, the whole or what is left; return cells and number."""
    target = folder / "cells.zarr"
    with ResumableOutput(folder / "work", {}) as work:
        job = BlockSegmentation(image, ndim, settings, classes, work, sizes)
        running, told = job.events("instances", target), []
        while True:
            try:
                told.append(next(running))
            except StopIteration as stop:
                count = stop.value
                break
        work.publish({"instances": target})
    assert all(isinstance(event, BlockDone) for event in told)
    if whole:
        assert [e.progress for e in told if e.stage == "cells"][-1] == 1
    assert [e.progress for e in told if e.stage == "numbers"][-1] == 1
    return np.asarray(read_image(target).data[...]), count


@pytest.mark.parametrize(("side", "margin"), [(64, 48), (96, 32), (128, 64)])
def test_a_plane_in_blocks_has_the_cells_of_the_whole(tmp_path, side, margin):
    p = noise((300, 411), 4)
    image = Image(two(p), "cyx")
    sizes = BlockSizes(whole=0, plane=(side, side), plane_margin=margin)
    cells, count = in_blocks(image, 2, sizes, tmp_path)
    np.testing.assert_array_equal(cells, segment_image(image, 2, ALL))
    assert count == cells.max() > 100


@pytest.mark.parametrize(
    "settings",
    [
        ALL.replace(clear_border=True),
        ALL.replace(min_size=60, ridge=5),
        ALL.replace(fill_holes=False, ridge=0, threshold=0.3),
        ALL.replace(min_distance=0, neck=0.1),
    ],
)
def test_so_it_is_with_other_settings(tmp_path, settings):
    image = Image(two(noise((200, 260), 3)), "cyx")
    cells, _ = in_blocks(image, 2, SMALL, tmp_path, settings)
    expected = segment_image(image, 2, settings)
    np.testing.assert_array_equal(cells, expected)
    assert expected.max() > 20


def test_so_it_is_with_classes_that_are_no_cells(tmp_path):
    p = np.stack([noise((150, 200), 4, seed) for seed in range(4)])
    image = Image(p / p.sum(axis=0), "cyx")
    lower = ALL.replace(threshold=0.3)
    cells, _ = in_blocks(image, 2, SMALL, tmp_path, lower, classes=(1, 3))
    expected = segment_image(image, 2, lower, cell_classes=(1, 3))
    np.testing.assert_array_equal(cells, expected)
    assert expected.max() > 20


def test_dense_tissue_in_blocks_has_almost_the_cells_of_the_whole(tmp_path):
    pytest.importorskip("bioimage_cpp")
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, (300, 360), (190, 2))
    at = np.stack(np.mgrid[:300, :360], axis=-1)
    first, second = np.sort(
        [np.linalg.norm(at - centre, axis=-1) for centre in centres], axis=0
    )[:2]
    # walls of some pixels, with holes
    walls = np.exp(-(((second - first) / 4) ** 2)) * noise((300, 360), 5, level=-1)
    image = Image(two((1 - walls).astype(np.float32)), "cyx")
    settings = ALL.replace(cells_by="multicut", membrane=0.4)
    sizes = BlockSizes(whole=0, plane=(128, 128), plane_margin=64)
    cells, count = in_blocks(image, 2, sizes, tmp_path, settings)
    expected = segment_image(image, 2, settings)
    assert count == cells.max() > 100
    # all is one connected area: what is far away may matter, but hardly does
    assert average_precision(cells, expected, [0.95])[0] > 0.95


@pytest.mark.parametrize("link", ["overlap", "none"])
@pytest.mark.parametrize("clear", [False, True])
def test_planes_of_a_stack_are_linked_as_in_the_whole(tmp_path, link, clear):
    p = noise((2, 5, 100, 130), (0, 1, 4, 4))
    image = Image(two(p, 1), "tczyx")
    settings = ALL.replace(link_z=link, clear_border=clear)
    cells, count = in_blocks(image, 2, SMALL, tmp_path, settings)
    expected = segment_image(image, 2, settings)
    np.testing.assert_array_equal(cells, expected)
    assert count == sum(frame.max() for frame in expected)
    if link == "overlap":
        assert len(np.unique(cells)) < sum(len(np.unique(z)) for z in cells[0])


@pytest.mark.parametrize(("ndim", "axes"), [(2, "tcyx"), (2, "tczyx"), (3, "tczyx")])
def test_cells_are_followed_through_time_as_in_the_whole(tmp_path, ndim, axes):
    shape = (4, 3, 90, 120) if "z" in axes else (4, 90, 120)
    sigma = (1, 1, 4, 4) if "z" in axes else (1, 4, 4)
    image = Image(two(noise(shape, sigma), 1), axes)
    settings = ALL.replace(track=True)
    sizes = replace(SMALL, volume=(2, 48, 48), volume_margin=40)
    cells, count = in_blocks(image, ndim, sizes, tmp_path, settings)
    expected = segment_image(image, ndim, settings)
    np.testing.assert_array_equal(cells, expected)
    alone = segment_image(image, ndim, ALL)
    assert count == expected.max() < sum(frame.max() for frame in alone)


@pytest.mark.parametrize("stage", ["cells", "numbers", "tracks"])
def test_cells_that_are_followed_go_on_after_a_stop(tmp_path, stage):
    image = Image(two(noise((3, 90, 120), (1, 4, 4)), 1), "tcyx")
    settings = ALL.replace(track=True)
    with ResumableOutput(tmp_path / "work", {}) as work:
        job = BlockSegmentation(image, 2, settings, None, work, SMALL)
        running = job.events("instances", tmp_path / "cells.zarr")
        while next(running).stage != stage:
            pass
        next(running)
        running.close()
    cells, count = in_blocks(image, 2, SMALL, tmp_path, settings, whole=False)
    np.testing.assert_array_equal(cells, segment_image(image, 2, settings))
    assert count == cells.max()


def test_a_volume_in_blocks_has_the_cells_of_the_whole(tmp_path):
    p = noise((30, 70, 80), (1.5, 3, 3), level=1.5)
    image = Image(two(p), "czyx", (2.0, 1.0, 1.0))
    sizes = BlockSizes(whole=0, volume=(10, 32, 32), volume_margin=24)
    cells, count = in_blocks(image, 3, sizes, tmp_path)
    np.testing.assert_array_equal(cells, segment_image(image, 3, ALL))
    assert count == cells.max() > 30


def test_a_movie_of_flat_volumes_keeps_its_axes(tmp_path):
    p = noise((3, 60, 70), (0, 4, 4))
    image = Image(two(p, 1), "tcyx")
    cells, _ = in_blocks(image, 3, BlockSizes(), tmp_path)
    np.testing.assert_array_equal(cells, segment_image(image, 3, ALL))


def test_a_cell_larger_than_block_and_margin_has_one_id(tmp_path):
    y, x = np.ogrid[:400, :300]
    inside = np.hypot(y - 220, x - 140) < 120
    inside[:, 135:145] &= np.abs(y - 220) < 100
    inside |= (y < 60) & (x > 250)
    image = Image(two(inside.astype(np.float32)), "cyx")
    sizes = BlockSizes(whole=0, plane=(64, 64), plane_margin=16)
    cells, count = in_blocks(image, 2, sizes, tmp_path)
    assert count == 2
    np.testing.assert_array_equal(cells > 0, inside)
    assert cells[220, 100] == cells[220, 180] == 2


def test_a_long_thin_cell_through_many_blocks_has_one_id(tmp_path):
    p = np.zeros((40, 700), np.float32)
    p[10:16] = 1
    p[20:26, 50:650] = 1
    cells, count = in_blocks(Image(two(p), "cyx"), 2, SMALL, tmp_path)
    np.testing.assert_array_equal(cells, segment_image(Image(two(p), "cyx"), 2, ALL))
    assert count == 2


def test_ids_take_the_smallest_type_that_holds_them(tmp_path):
    p = np.zeros((60, 120), np.float32)
    p[::3, ::4] = 1  # 20 x 30 cells
    image = Image(two(p), "cyx", (0.5, 0.5))
    cells, count = in_blocks(image, 2, SMALL, tmp_path, ALL.replace(ridge=0))
    assert (count, cells.dtype) == (600, np.uint16)
    np.testing.assert_array_equal(cells[::3, ::4].ravel(), np.arange(1, 601))
    assert read_image(tmp_path / "cells.zarr").spacing_um == (0.5, 0.5)
    nothing, none = in_blocks(Image(two(0 * p), "cyx"), 2, SMALL, tmp_path)
    assert (none, nothing.dtype, nothing.any()) == (0, np.uint8, False)


def test_small_planes_are_not_cut():
    sizes = BlockSizes()
    assert len(sizes.segmented((4096, 4096), (1.0, 1.0))) == 1
    blocks = sizes.segmented((4096, 4097), (1.0, 1.0))
    assert len(blocks) > 1
    # no two blocks write to one stored chunk
    assert all(side.start % 512 == 0 for b in blocks for side in b.core)
    # the margin is as wide in micrometres along z as across
    first = sizes.segmented((192, 768, 768), (4.0, 1.0, 1.0))[0]
    reach = [w.stop - c.stop for w, c in zip(first.window, first.core, strict=True)]
    assert reach == [12, 48, 48]
