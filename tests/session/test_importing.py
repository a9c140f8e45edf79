from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from scipy.ndimage import gaussian_filter

from napari_unet.io.project_record import ProjectClass
from napari_unet.session.annotating.drawn_shapes import from_shapes
from napari_unet.session.annotating.imported_masks import (
    AmbiguousMasksError,
    from_masks,
)
from napari_unet.session.annotating.importing import merged

ONE = (ProjectClass(),)

CELLS = np.array([[0, 5, 5], [0, 0, 0], [9, 9, 0]], np.uint16)
BINARY = np.array([[0, 255, 255], [0, 0, 0], [255, 255, 0]], np.uint8)


def test_cells_get_the_ids_that_are_free() -> None:
    found = from_masks(CELLS, "yx", "instances", ONE, free=40)
    np.testing.assert_array_equal(
        found.planes[0, 0], [[1, 40, 40], [1, 1, 1], [41, 41, 1]]
    )
    assert found.class_of == {}
    assert found.classes == ONE


def test_connected_areas_of_a_binary_mask_are_cells() -> None:
    found = from_masks(BINARY, "yx", None, ONE, free=7)
    np.testing.assert_array_equal(found.planes[0, 0], [[1, 7, 7], [1, 1, 1], [8, 8, 1]])


def test_areas_of_the_next_frame_get_further_ids() -> None:
    found = from_masks(np.stack([BINARY, BINARY]), "tyx", "binary", ONE, free=7)
    assert set(np.unique(found.planes[0, 0])) == {1, 7, 8}
    assert set(np.unique(found.planes[1, 0])) == {1, 9, 10}


def test_tracked_cells_keep_one_id_through_time() -> None:
    found = from_masks(np.stack([CELLS, CELLS]), "tyx", "instances", ONE, free=2)
    np.testing.assert_array_equal(found.planes[0, 0], found.planes[1, 0])


def test_where_nothing_is_known_no_background_is_annotated() -> None:
    stack, unknown = np.stack([CELLS, CELLS]), np.zeros((2, 3, 3), bool)
    unknown[1, :2] = True  # with a cell, which is known
    found = from_masks(stack, "tyx", "instances", ONE, 2, {5: 1, 9: 1}, unknown).planes
    np.testing.assert_array_equal(found[0, 0], [[1, 2, 2], [1, 1, 1], [3, 3, 1]])
    np.testing.assert_array_equal(found[1, 0], [[0, 2, 2], [0, 0, 0], [3, 3, 1]])


def test_slices_in_which_nobody_drew_are_left_alone() -> None:
    stack = np.stack([np.zeros_like(CELLS), CELLS])
    assert list(from_masks(stack, "zyx", "instances", ONE, free=2).planes) == [(0, 1)]


def test_values_that_are_classes_bring_classes() -> None:
    mask = np.array([[1, 0, 2], [0, 0, 0], [1, 0, 2]], np.uint8)
    found = from_masks(mask, "yx", "semantic", ONE, free=2)
    assert [c.name for c in found.classes] == ["cells", "class 2"]
    assert found.classes[0].colour != found.classes[1].colour
    labels = found.planes[0, 0]
    assert len(np.unique(labels)) == 5  # background and four objects
    assert [found.class_of.get(int(i), 1) for i in labels[0, [0, 2]]] == [1, 2]


def test_an_annotation_keeps_what_is_not_annotated() -> None:
    mask = np.array([[0, 1], [2, 3]], np.uint8)
    found = from_masks(mask, "yx", "annotation", ONE, free=10)
    np.testing.assert_array_equal(found.planes[0, 0], [[0, 1], [10, 11]])


def test_sparse_classes_bring_classes_and_keep_what_is_not_annotated() -> None:
    mask = np.array([[[2, 1], [0, 3]], [[2, 0], [0, 2]]], np.uint8)
    found = from_masks(mask, "tyx", "sparse", ONE, free=10)
    np.testing.assert_array_equal(found.planes[0, 0], [[10, 1], [0, 11]])
    # areas of the next frame are others
    np.testing.assert_array_equal(found.planes[1, 0], [[12, 0], [0, 13]])
    assert found.class_of == {11: 2}
    assert [c.name for c in found.classes] == ["cells", "class 2"]


def test_a_mask_of_two_meanings_is_asked_about() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[::4, ::4] = 1
    mask[2::4, 2::4] = 2
    with pytest.raises(AmbiguousMasksError, match="cells or classes") as raised:
        from_masks(mask, "yx", None, ONE, free=2)
    assert raised.value.choices == ("instances", "semantic", "annotation", "sparse")


def test_empty_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="masks are empty"):
        from_masks(np.zeros((4, 4), int), "yx", None, ONE, free=2)


def test_fractions_are_no_masks() -> None:
    with pytest.raises(ValueError, match=r"whole numbers, found 0\.5"):
        from_masks(np.full((4, 4), 0.5), "yx", None, ONE, free=2)


def test_masks_are_taken_only_where_nothing_is_annotated() -> None:
    old, new = np.array([[0, 1, 7]]), np.array([[5, 5, 5]])
    np.testing.assert_array_equal(merged(old, new), [[5, 1, 7]])


def test_shapes_are_drawn_where_they_lie_in_the_world() -> None:
    viewer = ViewerModel()
    # A pixel of the annotation is 2 wide, so the corner at 2 is pixel 1.
    layer = viewer.add_labels(np.zeros((6, 6), np.int32), scale=(2, 2))
    square = [[2, 2], [2, 6], [6, 6], [6, 2]]
    shapes = viewer.add_shapes([square], shape_type="polygon")
    planes = from_shapes(shapes, layer, "yx", (0, 0), free=9)
    expected = np.zeros((6, 6), int)
    expected[1:4, 1:4] = 9
    np.testing.assert_array_equal(planes[0, 0], expected)


def test_shapes_of_a_stack_go_to_their_slices() -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((3, 6, 6), np.int32))
    drawn = [[[z, 1, 1], [z, 1, 3], [z, 3, 3], [z, 3, 1]] for z in (0, 2)]
    shapes = viewer.add_shapes(drawn, shape_type="polygon")
    planes = from_shapes(shapes, layer, "zyx", (0, 1), free=2)
    assert sorted(planes) == [(0, 0), (0, 2)]
    assert (planes[0, 0].max(), planes[0, 2].max()) == (2, 3)


def test_flat_shapes_go_to_the_slice_in_view() -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((3, 6, 6), np.int32))
    shapes = viewer.add_shapes([[[1, 1], [1, 3], [3, 3], [3, 1]]], shape_type="polygon")
    assert list(from_shapes(shapes, layer, "zyx", (0, 1), free=2)) == [(0, 1)]


def test_an_ellipse_leaves_the_corners_of_its_box_out() -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((11, 11), np.int32))
    shapes = viewer.add_shapes(
        [[[0, 0], [0, 10], [10, 10], [10, 0]]], shape_type="ellipse"
    )
    plane = from_shapes(shapes, layer, "yx", (0, 0), free=2)[0, 0]
    assert (plane[5, 5], plane[0, 0], plane[5, 10]) == (2, 0, 2)


def test_lines_are_no_cells() -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((6, 6), np.int32))
    shapes = viewer.add_shapes([[[0, 0], [5, 5]]], shape_type="line", name="lines")
    with pytest.raises(ValueError, match="lines has no polygons"):
        from_shapes(shapes, layer, "yx", (0, 0), free=2)


def series(*frames: tuple[int, ...]) -> np.ndarray:
    """Frames with a square for each id."""
    stack = np.zeros((len(frames), 16, 40), np.uint16)
    for frame, cells in zip(stack, frames, strict=True):
        for k, cell in enumerate(cells):
            frame[3:9, 8 * k : 8 * k + 6] = cell
    return stack


@pytest.mark.parametrize("axes", ["tyx", "zyx"])
@pytest.mark.parametrize(
    "frames",
    [
        [(1,), (1, 2), (1, 2, 3)],
        [(1, 2, 3), (1, 2), (1,)],
        [(), (1,), (1, 2)],
        [(4,), (7,)],
        [(70000 - 65536,), (4464, 60000)],
    ],
)
def test_all_frames_tell_what_masks_mean(
    axes: str, frames: list[tuple[int, ...]]
) -> None:
    stack = series(*frames)
    found = from_masks(stack, axes, None, ONE, free=2)
    assert found.kind == "instances"
    ids = sorted({i for cells in frames for i in cells})
    for k, cells in enumerate(frames):
        place = (k, 0) if axes == "tyx" else (0, k)
        assert (place in found.planes) == bool(cells)
        if cells:
            new = np.where(stack[k] > 0, np.searchsorted(ids, stack[k]) + 2, 1)
            np.testing.assert_array_equal(found.planes[place], new)
    assert found.empty == sum(not cells for cells in frames)


def test_planes_of_a_movie_of_stacks_are_left_out_alike() -> None:
    stack = np.stack([series((1,), ()), series((), (1, 2)), series((), ())])
    found = from_masks(stack, "tzyx", None, ONE, free=2)
    assert sorted(found.planes) == [(0, 0), (1, 1)]
    assert found.empty == 4


@pytest.mark.parametrize(
    ("values", "dtype"),
    [((2**32 - 1, 5), np.uint32), ((2**31 - 2, 2**31 - 1), np.int64), ((7, 9), float)],
)
@pytest.mark.parametrize("kind", ["instances", "annotation"])
def test_high_ids_become_low_ones(values: tuple, dtype: type, kind: str) -> None:
    mask = np.array([[1, 0, values[0]], [0, values[1], 0]], dtype)
    found = from_masks(mask, "yx", kind, ONE, free=30)
    high, low = (32, 31) if values[0] > values[1] else (31, 32)
    if kind == "annotation":  # 1 is background, and no cell
        expected = [[1, 0, high - 1], [0, low - 1, 0]]
    else:
        expected = [[30, 1, high], [1, low, 1]]
    assert found.planes[0, 0].tolist() == expected


def test_grey_levels_are_refused_and_not_asked_about() -> None:
    mask = np.kron((np.indices((4, 4)).sum(0) % 2) * 255.0, np.ones((20, 20)))
    blurred = gaussian_filter(mask, 1).astype(np.uint8)
    for kind in (None, "instances"):
        with pytest.raises(ValueError, match="like grey levels") as raised:
            from_masks(blurred, "yx", kind, ONE, free=2)
        assert not isinstance(raised.value, AmbiguousMasksError)
