"""Borders of regions that follow edges in the image."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.cells.class_map import (
    blocks,
    check_segmentation,
    class_map,
    decide,
    edge_reach,
    follow_edges,
)
from napari_unet.core.cells.instances import most_probable
from napari_unet.core.geometry.blocks import cut
from napari_unet.core.images.image import Field, Image
from napari_unet.core.settings import MOST_EDGE_SMOOTHING, Segmentation

REGIONS = ClassInfo(name="tissue", kind="regions")


def scene(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy probabilities of three classes, and an image of two channels."""
    rng = np.random.default_rng(seed)
    scores = rng.random((3, *shape)).astype(np.float32)
    image = rng.integers(0, 4000, (2, *shape)).astype(np.uint16)
    return scores / scores.sum(axis=0), image


def test_where_the_image_shows_nothing_it_is_two_means() -> None:
    # thirds of a mean of three pixels, and of that once more
    values = np.zeros((1, 3, 9))
    values[..., 4] = 1
    found = follow_edges(values, np.full((1, 3, 9), 7), (0, 1))
    expected = np.array([0, 0, 1, 2, 3, 2, 1, 0, 0]) / 9
    np.testing.assert_allclose(found[0], [expected] * 3, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_a_soft_border_jumps_to_the_edge_beside_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = np.zeros((40, 60), np.uint8)
    true[:, 30:] = 1
    image = 100 * true + rng.normal(0, 10, true.shape)
    # the network is not sure, and three pixels too far to the right
    one = np.clip((np.arange(60) - 32.9) / 12 + 0.5, 0, 1)
    values = np.stack([1 - one, one])[:, np.newaxis].repeat(40, axis=1)
    assert (most_probable(values) != true).sum() == 3 * 40
    found = most_probable(follow_edges(values, image[np.newaxis], (8, 8)))
    assert (found != true).sum() < 1 * 40


def test_probabilities_stay_shares_of_one() -> None:
    values, image = scene((30, 40))
    found = follow_edges(values, image, (3, 3))
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


def test_neither_brightness_nor_contrast_matters() -> None:
    values, image = scene((30, 40))
    found = follow_edges(values, image, (3, 3))
    other = follow_edges(values, image * 7.0 + 500, (3, 3))
    np.testing.assert_allclose(found, other, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "sides", "reach"),
    [((70, 90), (32, 32), (4, 4)), ((12, 40, 50), (4, 16, 16), (1, 3, 3))],
)
def test_parts_of_an_image_get_the_same_bits_as_the_whole(shape, sides, reach) -> None:
    values, image = scene(shape)
    whole = follow_edges(values, image, reach)
    for block in cut(shape, sides, [3 * r for r in reach]):
        window = (slice(None), *block.window)
        part = follow_edges(values[window], image[window], reach)
        inner, core = (slice(None), *block.inner), (slice(None), *block.core)
        np.testing.assert_array_equal(part[inner], whole[core])


def test_blocks_have_around_them_what_their_classes_depend_on() -> None:
    block = blocks((3000, 5000), (2, 3))[-1]
    starts = [(w.start, c.start) for w, c in zip(block.window, block.core, strict=True)]
    assert [core - window for window, core in starts] == [6, 9]


def test_all_planes_of_a_movie_are_decided_by_their_own() -> None:
    values, image = scene((2, 3, 20, 24))
    found = Image(values, "ctzyx")
    shown = Image(image, "ctzyx", (0.5, 0.5, 0.5))
    settings = Segmentation(edge_smoothing=3)
    classes = class_map(found, shown, 2, settings, ())
    assert classes.shape == (2, 3, 20, 24)
    plane = follow_edges(values[:, 1, 2], image[:, 1, 2], (3, 3))
    np.testing.assert_array_equal(classes[1, 2], most_probable(plane))
    volume = follow_edges(values[:, 1], image[:, 1], (3, 3, 3))
    classes = class_map(found, shown, 3, settings, ())
    np.testing.assert_array_equal(classes[1], most_probable(volume))


def test_without_edges_it_is_what_the_network_says() -> None:
    values, image = scene((20, 24))
    images = Image(values, "cyx"), Image(image, "cyx")
    classes = class_map(*images, 2, Segmentation(), ())
    np.testing.assert_array_equal(classes, most_probable(values))


def test_the_reach_is_in_pixels_of_the_finest_axis() -> None:
    assert edge_reach(Segmentation(edge_smoothing=4), (3.0, 1.0, 1.0)) == (1, 4, 4)
    settings = Segmentation(edge_smoothing=4).for_pixels((0.5, 0.5))
    assert settings.edge_smoothing == 8
    settings = Segmentation(edge_smoothing=40).for_pixels((0.5, 0.5))
    assert settings.edge_smoothing == MOST_EDGE_SMOOTHING


def test_a_volume_without_the_axis_z_has_one_slice() -> None:
    values, image = scene((20, 24))
    fields = Field(Image(values, "cyx"), 0, None), Field(Image(image, "cyx"), 0, None)
    (block,) = blocks((1, 20, 24), (0, 2, 2))
    found = decide(*fields, block, (0, 2, 2))
    plane = most_probable(follow_edges(values, image, (2, 2)))
    np.testing.assert_array_equal(found[0], plane)


def test_borders_of_cells_do_not_follow_edges() -> None:
    settings = Segmentation(edge_smoothing=2)
    check_segmentation(settings, [REGIONS])
    with pytest.raises(ValueError, match="the class nuclei of cells") as caught:
        check_segmentation(settings, [REGIONS, ClassInfo(name="nuclei")])
    assert str(caught.value).count(".") == 1
