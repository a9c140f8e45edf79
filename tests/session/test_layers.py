"""Layers told apart by role, and read through their public attributes."""

from __future__ import annotations

import pickle
from copy import deepcopy

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_unet.session.images.layers import (
    METADATA_KEY,
    attributes_like,
    box_in_view,
    find,
    guess_axes,
    level_data,
    name_for,
    note,
    place_in_view,
    role_of,
    set_visible,
    spacing_um_of,
)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def test_layers_are_found_by_role_source_and_run_and_not_by_name(
    viewer: ViewerModel,
) -> None:
    ours = viewer.add_image(zeros(2, 3), metadata=note("classes", "a", "run 1"))
    other = viewer.add_image(zeros(2, 3), metadata=note("classes", "b", "run 1"))
    viewer.add_image(zeros(2, 3), name=ours.name)
    viewer.add_image(zeros(2, 3), metadata={METADATA_KEY: "not ours"})
    ours.name = "renamed"
    assert find(viewer, "classes") == [ours, other]
    assert find(viewer, "classes", source="a") == [ours]
    assert find(viewer, "classes", run="run 2") == []
    assert find(viewer, "cells") == []


def test_a_layer_of_someone_else_has_neither_role_nor_source(
    viewer: ViewerModel,
) -> None:
    odd = viewer.add_image(zeros(2, 3), metadata={METADATA_KEY: {"role": 7}})
    ours = viewer.add_image(zeros(2, 3), metadata=note("cells", "a", number=3))
    assert role_of(odd) is None
    assert role_of(ours) == "cells"
    assert ours.metadata[METADATA_KEY]["number"] == 3


def test_a_layer_that_is_seen_is_not_drawn_anew_to_be_shown(
    viewer: ViewerModel,
) -> None:
    layer = viewer.add_labels(np.zeros((4, 4), np.uint8))
    drawn: list[bool] = []
    layer.events.set_data.connect(lambda: drawn.append(layer.visible))
    set_visible(layer)
    assert drawn == []
    set_visible(layer, False)
    assert not layer.visible
    set_visible(layer)
    assert drawn == [True]


@pytest.mark.parametrize("deep", [False, True])
def test_a_copy_of_a_layer_is_the_persons_own(viewer: ViewerModel, deep: bool) -> None:
    ours = viewer.add_labels(zeros(2, 3), metadata=note("annotation", "a"))
    assert role_of(ours) == "annotation"
    made = ours.as_layer_data_tuple()
    # as napari duplicates a layer
    copy = viewer.add_layer(Layer.create(*(deepcopy(made) if deep else made)))
    assert role_of(copy) is None
    viewer.layers.remove(ours)
    assert find(viewer, "annotation") == []
    viewer.layers.append(ours)
    assert find(viewer, "annotation") == [ours]


def test_a_note_can_go_to_another_process(viewer: ViewerModel) -> None:
    ours = viewer.add_labels(zeros(2, 3), metadata=note("annotation", "a"))
    assert role_of(ours) == "annotation"
    assert pickle.loads(pickle.dumps(ours.metadata)) == note("annotation", "a")


def test_a_layer_is_named_after_its_image() -> None:
    assert name_for("nuclei", "annotation") == "annotation · nuclei"


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((4, 5), {}, "yx"),
        ((3, 4, 5), {}, "zyx"),
        ((2, 3, 4, 5), {}, "tzyx"),
        ((2, 2, 3, 4, 5), {}, "tczyx"),
        ((3, 4, 5), {"axis_labels": ("t", "y", "x")}, "tyx"),
        ((3, 4, 5), {"axis_labels": ("Channel", "Y", "X")}, "cyx"),
        ((3, 4, 5), {"axis_labels": ("axis -3", "y", "x")}, "zyx"),
        ((3, 4, 5), {"axis_labels": ("c", "t", "z")}, "zyx"),
        ((4, 5, 3), {"rgb": True}, "yxc"),
        ((2, 4, 5, 3), {"rgb": True}, "zyxc"),
        ((2, 4, 5, 3), {"rgb": True, "axis_labels": ("t", "y", "x")}, "tyxc"),
        ((2, 4, 5, 3), {"rgb": True, "axis_labels": ("c", "y", "x")}, "zyxc"),
    ],
)
def test_axes_are_those_named_or_the_usual_ones(
    shape: tuple[int, ...], options: dict[str, object], expected: str
) -> None:
    assert guess_axes(Image(zeros(*shape), **options)) == expected


def test_an_image_of_six_axes_is_refused() -> None:
    layer = Image(zeros(1, 1, 1, 1, 2, 2), name="odd")
    with pytest.raises(ValueError, match="odd: an image has 2 to 5 axes, found 6"):
        guess_axes(layer)


def test_the_pixels_of_a_level_are_those_of_the_layer_without_levels() -> None:
    fine, coarse = zeros(8, 8), zeros(4, 4)
    assert level_data(Image([fine, coarse]), 1) is coarse
    assert level_data(Image(fine)) is fine


def test_the_pixel_size_is_told_in_micrometres() -> None:
    layer = Image(zeros(3, 4, 5), scale=(2, -0.5, 400), units=("um", "um", "nm"))
    assert spacing_um_of(layer, "zyx") == pytest.approx((2, 0.5, 0.4))


def test_time_needs_no_unit_of_length_but_every_spatial_axis_does() -> None:
    layer = Image(zeros(3, 4, 5), scale=(60, 0.5, 0.4), units=("s", "um", "um"))
    assert spacing_um_of(layer, "tyx") == pytest.approx((0.5, 0.4))
    assert spacing_um_of(layer, "zyx") is None
    assert spacing_um_of(Image(zeros(4, 5)), "yx") is None


def test_the_pixel_size_counts_turns_affine_maps_and_levels() -> None:
    turned = Image(zeros(4, 5), scale=(2, 3), rotate=30, units=("um", "um"))
    assert spacing_um_of(turned, "yx") == pytest.approx((2, 3))
    mapped = Image(
        [zeros(8, 8), zeros(4, 2)], affine=np.diag([2.0, 3.0, 1.0]), units=("mm", "mm")
    )
    assert spacing_um_of(mapped, "yx", level=1) == pytest.approx((4000, 12000))


def test_axes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="axes 'zyx' do not fit the layer's 2 axes"):
        spacing_um_of(Image(zeros(4, 5), units=("um", "um")), "zyx")


def test_a_new_layer_lies_where_its_source_does(viewer: ViewerModel) -> None:
    source = viewer.add_image(
        zeros(2, 3, 4, 5),
        scale=(1, 2, -0.5, 0.25),
        translate=(0, 10, 20, 30),
        rotate=np.kron(np.eye(2), [[0.6, -0.8], [0.8, 0.6]]),
        affine=np.diag([1.0, 1, 2, 3, 1]),
        units=("s", "um", "um", "um"),
        axis_labels=("t", "z", "y", "x"),
    )
    layer = viewer.add_labels(zeros(4, 5), **attributes_like(source, "tzyx", "yx"))
    assert layer.units == source.units[2:]
    assert layer.axis_labels == ("y", "x")
    for at in ((0, 0), (3, 1)):
        expected = source.data_to_world((0, 0, *at))[2:]
        assert layer.data_to_world(at) == pytest.approx(expected)


def test_channels_are_left_out_of_a_new_layer(viewer: ViewerModel) -> None:
    source = viewer.add_image(zeros(3, 2, 4, 5), scale=(9, 2, 3, 4), shear=range(6))
    like = attributes_like(source, "czyx", "zyx")
    assert like["scale"].tolist() == [2, 3, 4]
    assert "axis_labels" not in like
    # Terms of an upper triangle: (c, z), (c, y), (c, x), (z, y), (z, x), (y, x).
    assert like["shear"] == pytest.approx([3, 4, 5])
    assert viewer.add_labels(zeros(2, 4, 5), **like).ndim == 3


def test_colours_are_no_axis_of_a_new_layer(viewer: ViewerModel) -> None:
    source = viewer.add_image(zeros(4, 5, 3), rgb=True, scale=(2, 3))
    like = attributes_like(source, "yxc", "yx")
    assert like["scale"].tolist() == [2, 3]
    assert viewer.add_labels(zeros(4, 5), **like).ndim == 2


def test_a_layer_for_a_coarse_level_covers_the_same_area(viewer: ViewerModel) -> None:
    source = viewer.add_image(
        [zeros(8, 8), zeros(4, 2)], scale=(3, 1), affine=np.diag([5.0, 1.0, 1.0])
    )
    like = attributes_like(source, "yx", "yx", level=1)
    layer = viewer.add_labels(zeros(4, 2), **like)
    # Upper left and lower right corner of the image, half a pixel outside of centres.
    for coarse, fine in (((-0.5, -0.5), (-0.5, -0.5)), ((3.5, 1.5), (7.5, 7.5))):
        assert layer.data_to_world(coarse) == pytest.approx(source.data_to_world(fine))


def test_the_place_in_view_follows_the_sliders(viewer: ViewerModel) -> None:
    layer = viewer.add_image(zeros(3, 4, 5, 6), scale=(1, -2, 1, 1))
    viewer.dims.set_point((0, 1), (2, -4))
    assert place_in_view(viewer, layer, "tzyx") == (2, 2)
    assert place_in_view(viewer, layer, "ztyx") == (2, 2)
    viewer.dims.set_point((0, 1), (1, -6))
    assert place_in_view(viewer, layer, "tzyx") == (1, 3)


def test_the_place_is_inside_a_layer_that_is_shorter_than_others(
    viewer: ViewerModel,
) -> None:
    short = viewer.add_image(zeros(3, 5, 6))
    viewer.add_image(zeros(9, 5, 6))
    viewer.dims.set_point(0, 8)
    assert place_in_view(viewer, short, "zyx") == (0, 2)
    assert place_in_view(viewer, short, "tyx") == (2, 0)


def test_a_plane_in_a_viewer_of_stacks_has_the_place_0(viewer: ViewerModel) -> None:
    plane = viewer.add_image(zeros(5, 6))
    viewer.add_image(zeros(4, 4, 5, 6))
    viewer.dims.set_point((0, 1), (3, 3))
    assert place_in_view(viewer, plane, "yx") == (0, 0)


def test_the_place_is_found_in_a_transposed_view_and_in_3d(viewer: ViewerModel) -> None:
    layer = viewer.add_image(zeros(7, 5, 6))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(0, 5)
    assert place_in_view(viewer, layer, "zyx") == (0, 5)
    viewer.dims.ndisplay = 3
    assert place_in_view(viewer, layer, "zyx") == (0, 5)


def test_the_sliders_may_count_in_other_units_than_the_layer(
    viewer: ViewerModel,
) -> None:
    layer = viewer.add_image(zeros(7, 5, 6), scale=(2, 1, 1), units=("um",) * 3)
    viewer.add_image(zeros(7, 5, 6), units=("nm",) * 3)
    viewer.dims.set_point(0, 6000)
    assert place_in_view(viewer, layer, "zyx") == (0, 3)


def test_the_place_counts_the_slices_of_a_coarse_level(viewer: ViewerModel) -> None:
    layer = viewer.add_image([zeros(8, 8, 8), zeros(4, 4, 4)], multiscale=True)
    for point, expected in ((1, 0), (2, 1), (3, 1), (7, 3)):
        viewer.dims.set_point(0, point)
        assert place_in_view(viewer, layer, "zyx", level=1) == (0, expected)


def test_the_box_in_view_is_the_whole_plane_before_anything_is_drawn(
    viewer: ViewerModel,
) -> None:
    layer = viewer.add_image(zeros(3, 5, 6))
    assert box_in_view(viewer, layer, "zyx") == (slice(0, 5), slice(0, 6))


def test_the_box_in_view_includes_both_corners(viewer: ViewerModel) -> None:
    layer = viewer.add_image(zeros(3, 50, 60))
    layer.corner_pixels = np.array([[0, 10, 20], [0, 30, 59]])
    assert box_in_view(viewer, layer, "zyx") == (slice(10, 31), slice(20, 60))
    viewer.dims.ndisplay = 3
    assert box_in_view(viewer, layer, "zyx") == (slice(0, 50), slice(0, 60))


def test_the_box_is_the_whole_plane_where_planes_are_seen_from_the_side(
    viewer: ViewerModel,
) -> None:
    layer = viewer.add_image(zeros(30, 50, 60))
    layer.corner_pixels = np.array([[3, 0, 20], [9, 0, 40]])
    assert box_in_view(viewer, layer, "zyx") == (slice(0, 50), slice(0, 60))


def test_the_box_is_told_in_pixels_of_the_level_asked_for(viewer: ViewerModel) -> None:
    layer = viewer.add_image([zeros(80, 80), zeros(40, 40), zeros(20, 20)])
    layer.data_level = 1
    layer.corner_pixels = np.array([[5, 10], [14, 20]])
    assert box_in_view(viewer, layer, "yx") == (slice(10, 30), slice(20, 42))
    assert box_in_view(viewer, layer, "yx", level=2) == (slice(2, 8), slice(5, 11))
