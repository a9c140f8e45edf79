from __future__ import annotations

from itertools import count

import imagecodecs
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom
from scipy.spatial import cKDTree

from napari_unet.core.annotation.label_kind import (
    UnclearLabelsError,
    check_no_grey_levels,
    guess,
)


def rows(*values: list[int]) -> list[np.ndarray]:
    return [np.array([row], np.uint8) for row in values]


def frame(*cells: int, size: int = 40) -> np.ndarray:
    """A frame with a square for each id, side by side."""
    mask = np.zeros((size, size), np.uint16)
    for k, cell in enumerate(cells):
        mask[8 * (k // 4) : 8 * (k // 4) + 6, 9 * (k % 4) : 9 * (k % 4) + 6] = cell
    return mask


@pytest.mark.parametrize("values", [[0, 0, 0], [0, 255, 0], [0, 1, 0], [3, 3, 3]])
def test_one_value_is_guessed_to_be_binary(values: list) -> None:
    assert guess(rows(values)) == "binary"


def test_masks_of_1_and_of_255_are_binary_together() -> None:
    many = [0, 1, 0, 1, 0, 1]
    assert guess(rows(many, [255 * v for v in many])) == "binary"
    # 2 is no way to write a mask: it may be a class
    with pytest.raises(UnclearLabelsError):
        guess(rows(many, [2 * v for v in many]))


def test_a_value_for_each_area_is_guessed_to_be_instances() -> None:
    assert guess(rows([1, 1, 0, 2, 3, 0, 4])) == "instances"
    # One cell in two pieces does not make the others classes.
    assert guess(rows([1, 0, 1, 2, 3, 0, 4])) == "instances"


@pytest.mark.parametrize(
    "frames",
    [
        [(1,), (1, 2), (1, 2, 3)],
        [(1, 2, 3), (1, 2), (1,)],
        [(), (1,), (1, 2)],
        [(1,), (2,)],
        [(1,)] * 20 + [(1, 2, 3, 4, 5)],
        [(7,), (7, 300), (300, 301, 302, 303)],
    ],
)
@pytest.mark.parametrize("stacked", [False, True])
def test_frames_are_of_the_kind_that_all_of_them_tell(
    frames: list[tuple[int, ...]], stacked: bool
) -> None:
    masks = [frame(*cells) for cells in frames]
    assert guess([np.stack(masks)] if stacked else masks) == "instances"


def test_one_frame_in_which_cells_are_in_pieces_does_not_decide() -> None:
    split = frame(1, 1, 2, 2)
    with pytest.raises(UnclearLabelsError):
        guess([split])
    assert guess([split, frame(1, 2, 3), frame(1, 2, 3, 4)]) == "instances"


@pytest.mark.parametrize(
    "values",
    [
        [1, 0, 2, 0, 1, 0, 2],  # two values, two areas each
        [1, 1, 2, 2, 3, 3, 1],  # nothing is 0: background may be 1
        [0, 2, 1, 1, 1, 1, 1, 1, 3, 0, 4, 1],  # 1 is more than all others
        [0, 1, 1, 2, 2, 1, 0],  # 1 is around the others
    ],
)
def test_values_that_may_be_classes_or_background_are_asked_about(values: list) -> None:
    with pytest.raises(ValueError, match="--labels instances, semantic, annotation or"):
        guess(rows(values))


def discs(radius: float = 7, apart: int = 20, size: int = 160) -> np.ndarray:
    y, x = np.indices((size, size))
    mask = np.zeros((size, size), np.uint16)
    number = count(1)
    for cy in range(apart // 2, size, apart):
        for cx in range(apart // 2, size, apart):
            mask[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = next(number)
    return mask


BINARY = (discs() > 0).astype(np.uint8) * 255


def grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def jpeg(mask: np.ndarray, quality: int) -> np.ndarray:
    return imagecodecs.jpeg_decode(imagecodecs.jpeg_encode(mask, quality))


@pytest.mark.parametrize(
    "mask",
    [
        grey(zoom(BINARY.astype(float), 0.5, order=1)),
        grey(zoom(BINARY.astype(float), 2, order=1)),
        grey(zoom(BINARY.astype(float), 2, order=3)),
        grey(zoom(BINARY.astype(float), 1.3, order=3)),
        grey(zoom(discs().astype(float), 1.3, order=1)),
        grey(gaussian_filter(BINARY.astype(float), 0.6)),
        jpeg(BINARY, 75),
        jpeg(BINARY, 90),
        jpeg(discs().astype(np.uint8), 80),
    ],
)
@pytest.mark.parametrize("kind", [None, "instances", "semantic", "annotation"])
def test_grey_levels_are_no_labels(mask: np.ndarray, kind: str | None) -> None:
    with pytest.raises(ValueError, match="values above 0 run into each other"):
        check_no_grey_levels(mask, kind)


def mosaic(cells: int) -> np.ndarray:
    """Cells without gaps, each of the pixels nearest to a point."""
    points = np.random.default_rng(cells).uniform(0, 128, (cells, 2))
    y, x = np.indices((128, 128))
    nearest = cKDTree(points).query(np.column_stack([y.ravel(), x.ravel()]))[1]
    return nearest.reshape(128, 128).astype(np.uint16) + 1


@pytest.mark.parametrize(
    "mask",
    [
        discs(),
        zoom(discs(), 0.4, order=0),
        zoom(discs(), 2.7, order=0),
        discs(radius=1, apart=4),
        np.minimum(discs(apart=10, radius=4), 255),  # 255 ids, the last of many cells
        mosaic(100),
        mosaic(1200),
        # cut up, as by crops put together
        np.random.default_rng(0)
        .permutation(discs().reshape(8, 20, 160))
        .reshape(160, 160),
        np.pad(mosaic(300), 20),
        np.zeros((9, 9), np.uint8),
    ],
)
def test_labels_with_sharp_edges_are_taken(mask: np.ndarray) -> None:
    for kind in (None, "instances", "semantic"):
        check_no_grey_levels(mask, kind)


def test_a_class_may_lie_between_two_others() -> None:
    inside = discs() > 0
    border = inside & ~np.roll(inside, 1, 0) | inside & ~np.roll(inside, -1, 0)
    border |= inside & ~np.roll(inside, 1, 1) | inside & ~np.roll(inside, -1, 1)
    three = np.where(border, 1, np.where(inside, 2, 0))
    check_no_grey_levels(three, "semantic")
    check_no_grey_levels(three)
    # nor is a ring of background around cells a slope
    check_no_grey_levels(np.where(border, 1, np.where(inside, discs() + 1, 0)))
