"""Whatever changes an annotation layer is in its file, and told of once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from wrapt import ObjectProxy

from napari_unet.session.annotating.edits import Edit, EditStream, different_box
from napari_unet.session.project.annotation_file import AnnotationFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.layers import Labels
    from numpy.typing import NDArray


class Setup:
    """A viewer with an annotation layer, its file, and the edits told of so far."""

    def __init__(self, folder: Path, data: Any, axes: str, *, viewed: bool = True):
        self.viewer = ViewerModel()
        self.layer: Labels = self.viewer.add_labels(data)
        self.file = AnnotationFile(folder / "a.raw", axes, tuple(data.shape))
        self.stream = EditStream(self.layer, self.file, self.viewer if viewed else None)
        self.edits: list[Edit] = []
        self.sentences: list[str] = []
        self.stream.edited.connect(self.edits.append)
        self.stream.unfit.connect(self.sentences.append)

    def told(self) -> list[tuple[int, int, int, int, int, int]]:
        """Plane and box of the edits since the last call."""
        edits, self.edits[:] = list(self.edits), []
        return [
            (e.t, e.z, e.box[0].start, e.box[0].stop, e.box[1].start, e.box[1].stop)
            for e in edits
        ]

    def is_saved(self) -> bool:
        return np.array_equal(self.file.array, np.asarray(self.layer.data))


@pytest.fixture
def flat(tmp_path: Path) -> Setup:
    return Setup(tmp_path, np.zeros((60, 80), np.int32), "yx")


@pytest.fixture
def stack(tmp_path: Path) -> Setup:
    """A z-stack of 5 slices of which slice 2 is in view."""
    setup = Setup(tmp_path, np.zeros((5, 60, 80), np.int32), "zyx")
    setup.viewer.dims.set_point(0, 2)
    return setup


def pixel(*place: int) -> tuple[NDArray[np.intp], ...]:
    return tuple(np.array([i]) for i in place)


def test_paint_is_told_once_with_its_box(stack: Setup) -> None:
    stack.layer.brush_size = 3
    stack.layer.paint((2, 10, 20), 4)
    assert stack.told() == [(0, 2, 9, 12, 19, 22)]
    assert stack.is_saved()
    assert stack.file.highest == 4
    stack.stream.tick()
    assert stack.told() == []


def test_the_file_knows_the_highest_id_of_all_edits(flat: Setup) -> None:
    highest: list[int] = []
    flat.stream.edited.connect(lambda: highest.append(flat.file.highest))
    flat.layer.data_setitem(pixel(1, 1), 9)
    flat.layer.data_setitem(pixel(2, 2), 3)
    assert highest == [9, 9]


def test_each_move_of_a_drag_is_saved_before_the_stroke_ends(stack: Setup) -> None:
    stack.layer.brush_size = 1
    stack.layer.mode = "paint"
    stack.layer.selected_label = 5
    press, move, release = (
        mouse(stack.viewer, kind) for kind in ("press", "move", "release")
    )
    press((2, 10, 10))
    assert stack.told() == [(0, 2, 10, 11, 10, 11)]
    move((2, 10, 12))
    assert stack.told() == [(0, 2, 10, 11, 11, 13)]
    move((2, 12, 12))
    assert stack.told() == [(0, 2, 11, 13, 12, 13)]
    assert stack.is_saved()
    release((2, 12, 12))
    assert stack.told() == []


def mouse(viewer: ViewerModel, kind: str) -> Callable[[tuple[float, ...]], None]:
    """Return what sends a mouse event to the active layer, as a canvas does."""
    from napari.utils.interactions import (
        mouse_move_callbacks,
        mouse_press_callbacks,
        mouse_release_callbacks,
    )

    callbacks = {
        "press": mouse_press_callbacks,
        "move": mouse_move_callbacks,
        "release": mouse_release_callbacks,
    }[kind]

    class Event:
        type = f"mouse_{kind}"
        is_dragging = kind == "move"
        button = 1
        modifiers = ()
        view_direction = None
        dims_displayed = tuple(viewer.dims.displayed)
        up_direction = None
        handled = False
        source = viewer
        position: tuple[float, ...] = ()
        pos = np.zeros(2)

    def send(position: tuple[float, ...]) -> None:
        event = Event()
        event.position = position
        callbacks(viewer.layers.selection.active, ObjectProxy(event))

    return send


def test_undo_and_redo_are_told_also_of_slices_out_of_view(stack: Setup) -> None:
    stack.layer.data_setitem(pixel(2, 5, 6), 3)
    stack.layer.data_setitem(pixel(2, 7, 8), 3)
    stack.viewer.dims.set_point(0, 0)
    stack.told()
    stack.layer.undo()
    assert stack.told() == [(0, 2, 7, 8, 8, 9)]
    assert stack.is_saved()
    stack.layer.undo()
    assert stack.told() == [(0, 2, 5, 6, 6, 7)]
    assert stack.file.places == ()
    stack.layer.redo()
    assert stack.told() == [(0, 2, 5, 6, 6, 7)]
    assert stack.file.places == ((0, 2),)
    assert stack.is_saved()


def test_undo_of_a_hidden_layer_is_found_in_time(stack: Setup) -> None:
    stack.layer.data_setitem(pixel(1, 5, 6), 3)
    stack.layer.visible = False
    stack.layer.undo()
    for _ in range(4):
        stack.stream.tick()
    assert stack.is_saved()


def test_fill_erase_and_polygon_are_told(stack: Setup) -> None:
    stack.layer.fill((2, 0, 0), 1)
    assert stack.told() == [(0, 2, 0, 60, 0, 80)]
    stack.layer.brush_size = 1
    stack.layer.paint((2, 30, 40), 0)
    assert stack.told() == [(0, 2, 30, 31, 40, 41)]
    corners = [(2, 10, 10), (2, 10, 20), (2, 15, 20), (2, 15, 10)]
    stack.layer.paint_polygon(corners, 6)
    assert stack.told() == [(0, 2, 10, 16, 10, 21)]
    assert stack.is_saved()


def test_an_edit_without_a_redraw_is_saved_at_the_next_tick(stack: Setup) -> None:
    stack.layer.brush_size = 1
    stack.layer.paint((2, 3, 4), 8, refresh=False)
    stack.stream.tick()
    assert stack.told() == [(0, 2, 3, 4, 4, 5)]
    assert stack.is_saved()


def test_data_setitem_over_several_slices_is_told_for_each(stack: Setup) -> None:
    where = (np.array([0, 0, 4]), np.array([1, 3, 59]), np.array([2, 9, 79]))
    stack.layer.data_setitem(where, 3)
    stack.stream.tick()
    assert stack.told() == [(0, 0, 1, 4, 2, 10), (0, 4, 59, 60, 79, 80)]
    assert stack.is_saved()


def test_a_brush_of_three_dimensions_is_saved_in_all_slices_while_dragging(
    stack: Setup,
) -> None:
    stack.layer.n_edit_dimensions = 3
    stack.layer.brush_size = 5
    with stack.layer.block_history():
        stack.layer.paint((2, 30, 30), 3, refresh=True)
        assert {place[1] for place in stack.told()} == {0, 1, 2, 3, 4}
        assert stack.is_saved()


def test_a_brush_on_a_turned_view_is_saved(stack: Setup) -> None:
    stack.viewer.dims.order = (1, 0, 2)  # z and x are on the canvas
    stack.viewer.dims.set_point(1, 33)
    stack.layer.brush_size = 3
    with stack.layer.block_history():
        stack.layer.paint((1, 33, 20), 4, refresh=True)
        assert stack.is_saved()
    assert {place[1] for place in stack.told()} == {0, 1, 2}


def test_painting_in_a_view_of_volumes_is_saved(stack: Setup) -> None:
    stack.viewer.dims.ndisplay = 3
    with stack.layer.block_history():
        stack.layer.paint((3, 33, 20), 4, refresh=True)
        assert stack.is_saved()
    assert stack.file.places == ((0, 3),)


def test_slices_are_found_where_the_layer_is_scaled_and_moved(tmp_path: Path) -> None:
    setup = Setup(tmp_path, np.zeros((5, 60, 80), np.int32), "zyx")
    setup.layer.scale = (3, 0.5, 0.5)
    setup.layer.translate = (30, 0, 0)
    setup.viewer.dims.set_point(0, 39)
    with setup.layer.block_history():
        setup.layer.paint((3, 10, 10), 2, refresh=True)
        assert {place[1] for place in setup.told()} == {3}


def test_a_flat_layer_beside_a_stack_is_followed(tmp_path: Path) -> None:
    setup = Setup(tmp_path, np.zeros((60, 80), np.int32), "yx")
    setup.viewer.add_image(np.zeros((7, 60, 80)))
    setup.viewer.dims.set_point(0, 5)
    setup.layer.brush_size = 1
    with setup.layer.block_history():
        setup.layer.paint((10, 20), 2, refresh=True)
        assert setup.told() == [(0, 0, 10, 11, 20, 21)]


def test_time_and_depth_are_told_apart(tmp_path: Path) -> None:
    setup = Setup(tmp_path, np.zeros((3, 4, 20, 20), np.int32), "tzyx")
    setup.viewer.dims.set_point((0, 1), (2, 1))
    setup.layer.brush_size = 1
    setup.layer.paint((2, 1, 5, 6), 3)
    assert setup.told() == [(2, 1, 5, 6, 6, 7)]
    assert setup.file.places == ((2, 1),)


def test_without_a_viewer_all_slices_are_looked_at(tmp_path: Path) -> None:
    setup = Setup(tmp_path, np.zeros((5, 20, 20), np.int32), "zyx", viewed=False)
    setup.layer.brush_size = 1
    with setup.layer.block_history():
        setup.layer.paint((0, 5, 6), 3, refresh=True)
        assert setup.told() == [(0, 0, 5, 6, 6, 7)]


@pytest.mark.parametrize("redraw", [True, False])
def test_a_console_write_in_view_is_found_within_a_second(
    stack: Setup, redraw: bool
) -> None:
    stack.layer.data[2, 50:53, 70] = 11
    if redraw:
        stack.layer.refresh()
        assert stack.told() == [(0, 2, 50, 53, 70, 71)]
    for _ in range(4):
        stack.stream.tick()
    assert stack.told() == ([] if redraw else [(0, 2, 50, 53, 70, 71)])
    assert stack.is_saved()


def test_a_console_write_out_of_view_is_found_in_turn(tmp_path: Path) -> None:
    setup = Setup(tmp_path, np.zeros((40, 512, 512), np.int32), "zyx")
    setup.layer.data[33, 500, 3] = 4
    for _ in range(200):
        setup.stream.tick()
        if setup.edits:
            break
    assert setup.told() == [(0, 33, 500, 501, 3, 4)]


def test_rows_beyond_the_first_are_found_by_ticks(tmp_path: Path) -> None:
    setup = Setup(tmp_path, np.zeros((1000, 10), np.int32), "yx")
    for row in (0, 127, 128, 511, 999):
        setup.layer.data[row, 3] = 5
        for _ in range(4):
            setup.stream.tick()
        assert setup.told() == [(0, 0, row, row + 1, 3, 4)]


def test_moving_a_slider_is_no_edit_and_compares_nothing(
    stack: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Any] = []
    monkeypatch.setattr(stack.stream, "_compare", lambda *a: compared.append(a))
    stack.viewer.dims.set_point(0, 3)
    stack.viewer.dims.set_point(0, 4)
    assert compared == []


def test_new_data_is_saved_plane_by_plane(stack: Setup) -> None:
    stack.layer.data_setitem(pixel(1, 5, 6), 3)
    stack.told()
    new = np.zeros((5, 60, 80), np.int32)
    new[0, 10, 10] = 7
    new[4, 20:22, 20] = 8
    stack.layer.data = new
    assert stack.told() == [
        (0, 0, 10, 11, 10, 11),
        (0, 1, 5, 6, 6, 7),
        (0, 4, 20, 22, 20, 21),
    ]
    assert stack.is_saved()
    assert stack.file.places == ((0, 0), (0, 4))
    stack.layer.paint((2, 5, 5), 3)
    assert stack.is_saved()


def test_the_same_array_set_again_is_compared(stack: Setup) -> None:
    stack.layer.data[4, 7, 7] = 3
    stack.layer.data = stack.layer.data
    assert stack.told() == [(0, 4, 7, 8, 7, 8)]


def test_new_data_of_a_hidden_layer_is_saved(stack: Setup) -> None:
    stack.layer.visible = False
    stack.layer.data = np.ones((5, 60, 80), np.int32)
    assert stack.is_saved()


def test_data_of_another_shape_is_told_and_not_saved(stack: Setup) -> None:
    stack.layer.data_setitem(pixel(2, 5, 6), 3)
    before = np.array(stack.file.array)
    stack.layer.data = np.ones((5, 60, 81), np.int32)
    assert len(stack.sentences) == 1
    assert "found int32 of shape (5, 60, 81)" in stack.sentences[0]
    assert stack.stream.problem == stack.sentences[0]
    stack.layer.paint((2, 5, 5), 3)
    stack.stream.tick()
    stack.stream.compare_all()
    np.testing.assert_array_equal(stack.file.array, before)
    stack.layer.data = np.ones((60, 80), np.int32)
    assert len(stack.sentences) == 2
    stack.layer.data = np.full((5, 60, 80), 6, np.int32)
    assert stack.stream.problem is None
    assert stack.is_saved()


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.int64, np.uint64]
)
def test_whole_numbers_of_any_type_are_saved(tmp_path: Path, dtype: Any) -> None:
    setup = Setup(tmp_path, np.zeros((60, 80), dtype), "yx")
    setup.layer.paint((10, 10), 101)
    setup.layer.data_setitem(pixel(3, 3), 102)
    setup.layer.undo()
    assert setup.is_saved()
    assert setup.file.highest == 102


def test_ids_that_do_not_fit_are_told_once_and_the_others_saved(tmp_path: Path) -> None:
    setup = Setup(tmp_path, np.zeros((60, 80), np.int64), "yx")
    setup.layer.data[5, 5:8] = (3, -4, 2**31)
    setup.layer.refresh()
    setup.layer.refresh()
    assert len(setup.sentences) == 1
    assert "labels are 0 to 2147483647, found -4 to 2147483648" in setup.sentences[0]
    assert setup.file.array[5, 5:8].tolist() == [3, 0, 0]
    assert setup.told() == [(0, 0, 5, 6, 5, 8)]


def test_zarr_arrays_are_followed(tmp_path: Path) -> None:
    import zarr

    data = zarr.create_array(
        store=str(tmp_path / "z"), shape=(5, 300, 300), chunks=(1, 100, 100), dtype="i4"
    )
    setup = Setup(tmp_path, data, "zyx")
    setup.viewer.dims.set_point(0, 2)
    setup.layer.paint((2, 210, 110), 4)
    assert setup.told() == [(0, 2, 205, 216, 105, 116)]
    setup.layer.undo()
    assert setup.file.places == ()
    data[2, 250, 7] = 9
    for _ in range(4):
        setup.stream.tick()
    assert setup.is_saved()


def test_arrays_that_cannot_be_written_are_followed(tmp_path: Path) -> None:
    below = np.zeros((60, 80), np.int32)
    data = below.view()
    data.flags.writeable = False
    setup = Setup(tmp_path, data, "yx")
    below[4, 4] = 3
    setup.layer.refresh()
    assert setup.told() == [(0, 0, 4, 5, 4, 5)]


def test_multiscale_labels_are_refused(tmp_path: Path) -> None:
    layer = ViewerModel().add_labels(
        [np.zeros((64, 64), int), np.zeros((32, 32), int)], multiscale=True
    )
    file = AnnotationFile(tmp_path / "a.raw", "yx", (64, 64))
    with pytest.raises(ValueError, match="one level, found a multiscale layer"):
        EditStream(layer, file)


def test_detaching_saves_what_is_there_and_then_nothing(flat: Setup) -> None:
    flat.layer.data[3, 3] = 5
    flat.stream.detach()
    flat.stream.detach()
    assert flat.told() == [(0, 0, 3, 4, 3, 4)]
    flat.layer.paint((20, 20), 6)
    assert flat.told() == []
    assert not flat.is_saved()


def test_nothing_is_written_to_a_retired_file(flat: Setup) -> None:
    flat.file.close()
    flat.layer.paint((20, 20), 6)
    flat.stream.tick()
    flat.stream.detach()
    assert flat.told() == []
    assert not flat.file.array.any()


def test_a_full_disk_is_told_once_and_strokes_are_saved_later(
    flat: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "cannot be written, the disk is full.")

    monkeypatch.setattr(flat.file, "write", full)
    flat.layer.paint((20, 20), 6)
    flat.layer.paint((30, 30), 6)
    assert len(flat.sentences) == 1
    assert "the disk is full" in flat.sentences[0]
    monkeypatch.undo()
    for _ in range(4):
        flat.stream.tick()
    assert flat.is_saved()
    assert flat.stream.problem is None


def test_the_box_of_differences_is_the_smallest() -> None:
    one, other = np.zeros((2, 300, 7), np.int32)
    assert different_box(one, other) is None
    one[127, 3] = 1
    assert different_box(one, other) == (slice(127, 128), slice(3, 4))
    other[299, 6] = 1
    assert different_box(one, other) == (slice(127, 300), slice(3, 7))
    one[0, 0] = 5
    assert different_box(one, other) == (slice(0, 300), slice(0, 7))


def test_strokes_on_a_large_plane_are_saved(tmp_path: Path) -> None:
    setup = Setup(tmp_path, np.zeros((2048, 2048), np.int32), "yx")
    setup.layer.data[:] = 3
    setup.stream.compare_all()
    setup.layer.brush_size = 20
    with setup.layer.block_history():
        for number in range(40):
            setup.layer.paint((900, 40 * number + 20), 5, refresh=True)
    assert setup.is_saved()
