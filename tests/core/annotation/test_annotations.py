from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import generate_binary_structure, grey_dilation

from napari_unet.core.annotation.annotations import (
    IGNORED,
    Annotation,
    ClassInfo,
    with_background_ring,
)

CELLS = ClassInfo(name="nucleus")
REGIONS = ClassInfo(name="tissue", kind="regions")


def targets_of(labels: object, **rest: object) -> tuple[list, list]:
    targets = Annotation(np.array(labels), **rest).targets()
    return targets.classes.tolist(), targets.instances.tolist()


def test_unknown_background_and_cells_become_ignored_zero_and_one() -> None:
    classes, instances = targets_of([[0, 1, 2], [0, 1, 2]])
    assert classes == [[255, 0, 1], [255, 0, 1]]
    assert instances == [[0, 0, 2], [0, 0, 2]]


def test_targets_have_compact_types() -> None:
    targets = Annotation(np.ones((2, 2), np.int64)).targets()
    assert (targets.classes.dtype, targets.instances.dtype) == (np.uint8, np.int32)


def test_each_object_has_the_number_of_its_class_and_regions_have_no_ids() -> None:
    classes, instances = targets_of(
        [[2, 1, 3, 1, 4]], classes=(CELLS, REGIONS), class_of={3: 2}
    )
    assert classes == [[1, 0, 2, 0, 1]]
    assert instances == [[2, 0, 0, 0, 4]]


def test_ids_of_any_size_keep_their_class() -> None:
    big = 2**31 - 1
    classes, instances = targets_of(
        [[big, 0, 1_000_000]], classes=(CELLS, CELLS), class_of={big: 2}
    )
    assert classes == [[2, 255, 1]]
    assert instances == [[big, 0, 1_000_000]]


def test_unlabelled_means_background_only_where_finished() -> None:
    classes, _ = targets_of([[0, 0, 2, 0]], finished=np.array([[1, 0, 1, 1]], bool))
    assert classes == [[0, 255, 1, 0]]


def test_annotated_is_where_something_is_known() -> None:
    targets = Annotation(np.array([[0, 1, 2]])).targets()
    assert targets.annotated.tolist() == [[False, True, True]]


def test_an_empty_annotation_is_ignored_everywhere() -> None:
    targets = Annotation(np.zeros((3, 3), int)).targets()
    assert (targets.classes == IGNORED).all()


def test_a_ridge_between_columns_is_one_pixel_wide() -> None:
    classes, instances = targets_of([[2, 2, 3, 3]] * 3)
    assert classes == [[1, 1, 0, 1]] * 3
    assert instances == [[2, 2, 3, 3]] * 3


def test_a_ridge_between_rows_is_one_pixel_wide() -> None:
    classes, _ = targets_of([[2] * 3, [2] * 3, [3] * 3, [3] * 3])
    assert classes == [[1] * 3, [1] * 3, [0] * 3, [1] * 3]


def test_a_ridge_between_slices_is_one_voxel_wide() -> None:
    labels = np.repeat([2, 2, 3, 3], 4).reshape(4, 2, 2)
    classes = Annotation(labels).targets().classes
    assert classes[:, 0, 0].tolist() == [1, 1, 0, 1]
    assert (classes == classes[:, :1, :1]).all()


@pytest.mark.parametrize("labels", [[[2, 1], [1, 3]], [[1, 2], [3, 1]]])
def test_cells_touching_at_a_corner_are_parted(labels: list) -> None:
    classes, _ = targets_of(labels)
    expected = (np.array(labels) == 2).astype(int)
    assert classes == expected.tolist()


def test_cells_with_a_pixel_of_background_between_get_no_ridge() -> None:
    assert targets_of([[2, 1, 3]])[0] == [[1, 0, 1]]


def test_touching_cells_of_different_classes_get_no_ridge() -> None:
    classes, _ = targets_of([[2, 3]], classes=(CELLS, CELLS), class_of={3: 2})
    assert classes == [[1, 2]]


def test_touching_regions_get_no_ridge() -> None:
    assert targets_of([[2, 3]], classes=(REGIONS,)) == ([[1, 1]], [[0, 0]])


@pytest.mark.parametrize("shape", [(40, 30), (9, 14, 11)])
def test_no_two_cells_touch_after_ridges_and_nothing_else_is_taken(
    shape: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(1)
    seeds = np.stack([rng.integers(0, n, 12) for n in shape], axis=1)
    grid = np.stack(np.indices(shape), axis=-1)
    nearest = ((grid[..., None, :] - seeds) ** 2).sum(axis=-1).argmin(axis=-1)
    targets = Annotation(nearest + 2).targets()
    left = np.where(targets.classes == 1, nearest + 2, 0)
    full = generate_binary_structure(len(shape), len(shape))
    highest = grey_dilation(left, footprint=full)
    lowest = -grey_dilation(np.where(left > 0, -left, -99), footprint=full)
    assert (highest == lowest)[left > 0].all()
    touches = grey_dilation(nearest, footprint=full) != nearest
    touches |= -grey_dilation(-nearest, footprint=full) != nearest
    assert touches[targets.classes == 0].all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_part_has_the_targets_of_the_whole_but_for_a_pixel_per_axis_at_its_rim(
    ndim: int,
) -> None:
    rng = np.random.default_rng(2)
    labels = np.kron(rng.integers(0, 6, (7,) * ndim), np.ones((3,) * ndim, int))
    whole = Annotation(labels, finished=rng.random(labels.shape) < 0.5)
    part = whole.crop((slice(4, 16),) * ndim).targets()
    inner, outer = (slice(ndim, -ndim),) * ndim, (slice(4 + ndim, 16 - ndim),) * ndim
    expected = whole.targets()
    np.testing.assert_array_equal(part.classes[inner], expected.classes[outer])
    np.testing.assert_array_equal(part.instances[inner], expected.instances[outer])


def test_a_ring_reaches_as_far_as_its_width_and_takes_only_unknown_pixels() -> None:
    labels = np.zeros((7, 7), int)
    labels[3, 3] = 2
    labels[3, 4] = 3
    ringed = with_background_ring(Annotation(labels), 1.5).labels
    assert ringed[2:5, 2:6].tolist() == [[1, 1, 1, 1], [1, 2, 3, 1], [1, 1, 1, 1]]
    assert (ringed > 0).sum() == 12


def test_regions_get_no_ring() -> None:
    annotation = Annotation(np.array([[0, 2, 0]]), classes=(REGIONS,))
    assert with_background_ring(annotation, 3).labels.tolist() == [[0, 2, 0]]


def test_a_ring_of_negative_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 pixels or more, found -1"):
        with_background_ring(Annotation(np.zeros((2, 2), int)), -1)


@pytest.mark.parametrize(
    ("labels", "rest", "message"),
    [
        (np.zeros(4, int), {}, r"planes \(y, x\) or volumes .* found \(4,\)"),
        (np.zeros((2, 2)), {}, "whole numbers, found float64"),
        (np.array([[-1, 2]]), {}, r"found -1 to 2"),
        (np.array([[2**31]]), {}, r"found 2147483648"),
        (np.ones((2, 2), int), {"classes": ()}, "1 to 254 classes, found 0"),
        (np.ones((2, 2), int), {"classes": (CELLS,) * 255}, "254 classes, found 255"),
        (np.ones((2, 2), int), {"class_of": {2: 2}}, "numbers are 1 to 1, .* found 2"),
        (np.ones((2, 2), int), {"class_of": {2: 0}}, "numbers are 1 to 1, .* found 0"),
        (
            np.ones((2, 2), int),
            {"finished": np.ones((2, 3), bool)},
            r"\(2, 2\), found \(2, 3\)",
        ),
    ],
)
def test_what_is_no_annotation_is_refused(
    labels: np.ndarray, rest: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Annotation(labels, **rest)
