from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import pytest
from napari.layers import Layer
from skimage.color import rgb2lab

from napari_unet.core.annotation.annotations import FIRST_OBJECT
from napari_unet.core.jobs import CheckJob
from napari_unet.core.training.training_settings import Training
from napari_unet.io.project_record import ProjectClass
from napari_unet.session.annotating import annotation_layers
from napari_unet.session.annotating.annotation_layers import OPACITY
from napari_unet.session.annotating.classes import record_classes
from napari_unet.session.annotating.colours import colour_table
from napari_unet.session.annotating.data_check import DataCheck
from napari_unet.session.annotating.label_range import make_room
from napari_unet.session.annotating.shortcuts import SHORTCUTS
from napari_unet.session.editing.tools import OF_CELLS
from napari_unet.session.editing.tools import SHORTCUTS as EDIT_SHORTCUTS
from napari_unet.session.images.layers import find, noted, role_of
from napari_unet.session.project.store import ProjectStore
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari.layers import Labels

    from conftest import Pump
    from napari_unet.core.annotation.data_check import Finding
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.annotating.edits import Edit


class Bench(SessionBench):
    """A viewer with an image that is annotated."""

    def __init__(self, folder: Path, pump: Pump, shape: tuple[int, ...]) -> None:
        super().__init__(folder, pump.post)
        pixels = np.random.default_rng(0).random(shape).astype(np.float32)
        scale = (2.0, *(1.0,) * (len(shape) - 1)) if len(shape) == 3 else None
        self.source = self.viewer.add_image(pixels, name="cells", scale=scale)
        self.annotate()

    def annotate(self) -> None:
        self.id = self.images.add([self.source]).id
        self.layer = self.annotating.layers.show(self.id)

    def start_anew(self) -> None:
        """Begin a new project with the same image."""
        self.close()
        self.open(ProjectStore.create(self.store.folder.parent))
        self.annotate()

    def data_check(self) -> DataCheck:
        return DataCheck(self.session)

    def check(self, data_check: DataCheck) -> dict[str | None, Finding]:
        """Check the data; what is found by its remedy."""
        data_check.check()
        assert data_check.running
        self.worker.do_all(CheckJob)
        assert not data_check.running
        assert data_check.report is not None
        return {finding.fix: finding for finding in data_check.report.findings}

    @property
    def image(self) -> ProjectImage:
        return self.store.project.image(self.id)

    def paint(self, y: int, x: int, z: int | None = None) -> int:
        """Put the selected label on one pixel as the brush does; returns it."""
        self.layer.brush_size = 1
        place = (y, x) if z is None else (z, y, x)
        self.layer.paint(place, self.layer.selected_label)
        self.annotating.tick()
        return int(self.layer.selected_label)

    def press(self, keys: str) -> None:
        """Press a key as napari does when the layer is active."""
        from napari.utils.key_bindings import coerce_keybinding

        self.layer.keymap[coerce_keybinding(keys)](self.layer)


@pytest.fixture
def bench(tmp_path: Path, pump: Pump) -> Iterator[Bench]:
    bench = Bench(tmp_path, pump, (40, 60))
    yield bench
    bench.close()


@pytest.fixture
def stack(tmp_path: Path, pump: Pump) -> Iterator[Bench]:
    bench = Bench(tmp_path, pump, (5, 40, 60))
    yield bench
    bench.close()


def own_layers(bench: Bench, role: str) -> list[Any]:
    return find(bench.viewer, role, bench.id)


def test_a_new_annotation_is_ready_to_paint_the_first_cell(stack: Bench) -> None:
    layer = stack.layer
    assert layer.name == "Annotation · cells"
    assert (layer.data.shape, layer.data.dtype) == ((5, 40, 60), np.uint16)
    np.testing.assert_array_equal(layer.scale, [2, 1, 1])
    assert (layer.mode, layer.selected_label, layer.n_edit_dimensions) == (
        "paint",
        2,
        2,
    )
    assert stack.viewer.layers.selection.active is layer
    assert role_of(layer) == "annotation"
    assert stack.image.annotated
    assert stack.annotating.layers.show(stack.id) is layer


def test_what_is_painted_is_in_the_file_and_told(stack: Bench) -> None:
    edits: list[tuple[str, Edit]] = []
    stack.annotating.edited.connect(lambda id_, edit: edits.append((id_, edit)))
    stack.viewer.dims.set_current_step(0, 3)
    stack.paint(7, 9, z=3)
    assert stack.store.annotation(stack.id).plane(0, 3)[7, 9] == 2
    assert [(i, e.t, e.z) for i, e in edits] == [(stack.id, 0, 3)]
    assert stack.images.places(stack.id) == ((0, 3),)


def test_a_copy_does_not_stand_for_the_annotation(bench: Bench) -> None:
    bench.paint(7, 9)
    copy = bench.viewer.add_layer(Layer.create(*bench.layer.as_layer_data_tuple()))
    bench.viewer.layers.remove(bench.layer)
    # what is painted in it would be lost
    assert bench.images.annotation_layer(bench.id) is None
    shown = bench.annotating.layers.show(bench.id)
    assert shown is not copy
    assert shown.data[7, 9] == 2


def test_a_slice_that_is_not_seen_is_not_finished(stack: Bench) -> None:
    stack.paint(7, 9, z=0)
    # z and x are on the canvas
    stack.viewer.dims.order = (1, 0, 2)
    for finish in (
        stack.annotating.finishing.finish_slice,
        stack.annotating.finishing.finish_view,
        stack.annotating.finishing.toggle_slice,
    ):
        with pytest.raises(ValueError, match="shows z and x: roll its axes"):
            finish()
    assert stack.image.finished == ()
    # x down, y to the right: still the slice
    stack.viewer.dims.order = (0, 2, 1)
    stack.annotating.finishing.finish_slice()
    assert len(stack.image.finished) == 1


def test_each_next_cell_has_an_id_of_its_own(bench: Bench) -> None:
    ids = []
    for x in (5, 10, 15):
        ids.append(bench.paint(5, x))
        bench.annotating.brush.next_cell()
    assert ids == [2, 3, 4]


def test_an_id_that_was_not_painted_is_not_skipped(bench: Bench) -> None:
    bench.annotating.brush.next_cell()
    bench.annotating.brush.next_cell()
    assert bench.layer.selected_label == 2


def test_ids_of_erased_cells_are_not_used_again(bench: Bench) -> None:
    bench.paint(5, 5)
    bench.annotating.brush.erase()
    bench.layer.paint((5, 5), 0)
    bench.annotating.tick()
    bench.annotating.brush.next_cell()
    assert (bench.layer.selected_label, bench.layer.mode) == (3, "paint")


def test_painting_keeps_what_is_painted_but_erasing_erases(bench: Bench) -> None:
    bench.paint(5, 5)
    bench.annotating.brush.background()
    bench.paint(5, 5)
    bench.paint(5, 6)
    assert bench.layer.data[5, 5:7].tolist() == [2, 1]
    bench.annotating.brush.erase()
    assert not bench.layer.preserve_labels
    bench.annotating.brush.background()
    assert bench.layer.preserve_labels


def test_naparis_own_toggle_lets_paint_over(bench: Bench) -> None:
    bench.layer.preserve_labels = False
    assert not bench.annotating.brush.keep
    bench.annotating.brush.next_cell()
    assert not bench.layer.preserve_labels
    bench.annotating.brush.set_keep(True)
    assert bench.layer.preserve_labels


def test_cells_of_another_class_are_recorded_and_coloured(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    brush, seen = bench.annotating.brush, set()
    brush.changed.connect(lambda: seen.add(brush.active_class))
    first = bench.paint(5, 5)
    bench.annotating.brush.set_class(2)
    second = bench.paint(5, 10)
    assert bench.image.class_of == {second: 2}
    assert seen == {1, 2}
    table = bench.layer.colormap.colors
    classes = bench.store.project.classes
    expected = colour_table(classes, {second: 2}, range(second + 1))
    np.testing.assert_allclose(table[first], expected[first], atol=1e-6)
    np.testing.assert_allclose(table[second], expected[second], atol=1e-6)


def test_ids_beyond_16_bits_have_room_and_the_colour_of_their_class(
    bench: Bench,
) -> None:
    bench.annotating.classes.add("dividing")
    far = np.zeros(bench.layer.data.shape, np.int32)
    far[5, 5] = 70_000
    bench.store.replace_annotation(bench.id, {(0, 0): far}, "import masks")
    assert bench.layer.data.dtype == np.int32
    bench.annotating.brush.set_class(2)
    id_ = bench.paint(5, 10)
    assert id_ > 70_000
    (expected,) = colour_table(bench.store.project.classes, {id_: 2}, [id_])
    np.testing.assert_allclose(bench.layer.get_color(id_), expected, atol=1e-6)
    assert bench.store.annotation(bench.id).plane(0, 0)[5, 10] == id_


@pytest.mark.parametrize("top", [66_000, 10**7, 2**31 - 1])
def test_cells_have_colours_and_successors_however_high_their_ids_are(
    bench: Bench, top: int
) -> None:
    bench.annotating.classes.add("dividing")
    record_classes(bench.store, bench.id, {top: 2})
    far = np.zeros(bench.layer.data.shape, np.int32)
    ids = [top - 3 * k for k in range(8)]
    far[5, :8] = ids
    bench.layer.data = far
    bench.annotating.tick()
    np.testing.assert_array_equal(
        bench.store.annotation(bench.id).plane(0, 0)[5], far[5]
    )
    # a table by the cells there are, and some that may follow
    assert len(bench.layer.colormap.color_dict) < 2000
    classes = bench.store.project.classes
    shades = bench.annotating.layers._shown[bench.id].colours._shades
    expected = colour_table(classes, {top: 2}, ids, shades)
    for id_, colour in zip(ids, expected, strict=True):
        np.testing.assert_allclose(bench.layer.get_color(id_), colour, atol=1e-6)
    bench.annotating.brush.next_cell()
    new = bench.paint(20, 20)
    assert 2 <= new < 2**31
    assert new not in ids
    (colour,) = colour_table(classes, {}, [new])
    np.testing.assert_allclose(bench.layer.get_color(new), colour, atol=1e-6)
    assert bench.store.annotation(bench.id).plane(0, 0)[20, 20] == new
    bench.annotating.brush.next_cell()
    assert bench.layer.selected_label not in (new, *ids)


def test_predicted_cells_are_taken_however_high_their_ids_are(bench: Bench) -> None:
    cells = np.zeros(bench.layer.data.shape, np.int32)
    cells[2:6, 2:6], cells[8:12, 2:6] = 2**31 - 1, 2**31 - 9
    assert bench.annotating.label_edits.use_as_annotation(bench.id, cells, 0, 0) == 2
    taken = np.asarray(bench.layer.data)
    assert taken[3, 3] != taken[9, 3]
    assert taken[3, 3] > 1
    np.testing.assert_array_equal(taken > 1, cells > 0)
    again = bench.annotating.label_edits.use_as_annotation(
        bench.id, cells, 0, 0, {2**31 - 9}
    )
    assert again == 0


def test_a_part_of_a_slice_is_changed_where_it_is(bench: Bench) -> None:
    edits, box = bench.annotating.label_edits, (slice(8, 14), slice(3, 9))
    cell = np.zeros((6, 6), np.int32)
    cell[1:5, 2:6] = 7
    assert edits.use_as_annotation(bench.id, cell, 0, 0, {7}, box) == 1
    edits.change_plane(bench.id, 0, 0, lambda part: np.maximum(part.labels, 1), box)
    wanted = np.zeros(bench.layer.data.shape, np.int32)
    wanted[8:14, 3:9] = 1
    wanted[9:13, 5:9] = taken = bench.layer.data[10, 6]
    assert taken > 1
    np.testing.assert_array_equal(bench.layer.data, wanted)
    np.testing.assert_array_equal(bench.store.annotation(bench.id).plane(0, 0), wanted)


def test_the_colours_are_not_made_anew_for_each_cell(bench: Bench) -> None:
    made: list[int] = []
    bench.layer.events.colormap.connect(lambda: made.append(1))
    for x in range(20):
        bench.paint(5, x)
        bench.annotating.brush.next_cell()
    assert made == []


def split(bench: Bench, of_class: int) -> set[int]:
    """Paint a cell in two pieces and let the data check split it."""
    active = bench.annotating.brush.active_class
    bench.annotating.brush.set_class(of_class)
    id_ = int(bench.layer.selected_label)
    bench.paint(5, 5)
    bench.paint(5, 30)
    bench.annotating.brush.set_class(active)
    data_check = bench.data_check()
    data_check.fix(bench.check(data_check)["split"])
    data_check.close()
    return {id_, int(bench.layer.data[5, 30]), int(bench.layer.data[5, 5])}


def take_over(bench: Bench, of_class: int) -> set[int]:
    """Take a predicted cell over."""
    cells = np.zeros(bench.layer.data.shape, np.int32)
    cells[5:9, 5:9] = 1
    bench.annotating.label_edits.use_as_annotation(bench.id, cells, 0, 0)
    return {int(bench.layer.data[6, 6])}


def write(bench: Bench, of_class: int) -> set[int]:
    """Write a cell as a script does."""
    bench.layer.data_setitem((np.array([5]), np.array([5])), 90)
    return {90}


@pytest.mark.parametrize(
    ("act", "active", "of_class"),
    [
        (split, 1, 1),
        (split, 1, 2),
        (split, 2, 1),
        (split, 3, 1),
        (split, 3, 2),
        (take_over, 1, 1),
        (take_over, 2, 2),
        (take_over, 3, 1),
        (write, 2, 1),
    ],
)
@pytest.mark.parametrize("high", [False, True])
def test_cells_that_are_not_painted_have_the_colour_of_their_class(
    bench: Bench,
    act: Callable[[Bench, int], set[int]],
    active: int,
    of_class: int,
    high: bool,
) -> None:
    bench.annotating.classes.add("dividing")
    bench.annotating.classes.add("tissue", "regions")
    if high:
        make_room(bench.layer, 70_000)
        bench.layer.data_setitem((np.array([30]), np.array([50])), 70_000)
    bench.annotating.brush.set_class(active)
    ids = act(bench, of_class)
    assert {bench.image.class_of.get(i, 1) for i in ids} == {of_class}
    classes = bench.store.project.classes
    for id_ in ids:
        (colour,) = colour_table(classes, {id_: of_class}, [id_])
        np.testing.assert_allclose(bench.layer.get_color(id_), colour, atol=1e-6)


def test_a_fresh_id_goes_back_to_class_one(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    bench.annotating.brush.set_class(2)
    bench.annotating.brush.set_class(1)
    id_ = bench.paint(5, 5)
    assert bench.image.class_of.get(id_, 1) == 1
    table = colour_table(bench.store.project.classes, {}, range(id_ + 1))
    np.testing.assert_allclose(bench.layer.colormap.colors[id_], table[id_], atol=1e-6)


def test_picking_a_cell_takes_up_its_class(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    bench.annotating.brush.set_class(2)
    second = bench.paint(5, 10)
    bench.annotating.brush.set_class(1)
    bench.layer.selected_label = second
    assert bench.annotating.brush.active_class == 2


def test_a_label_chosen_with_naparis_means_gets_the_active_class(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    bench.annotating.brush.set_class(2)
    bench.layer.selected_label = 77
    assert bench.image.class_of[77] == 2


def test_all_areas_of_a_region_have_one_id(bench: Bench) -> None:
    bench.annotating.classes.add("tissue", "regions")
    bench.annotating.brush.set_class(2)
    first = bench.paint(5, 5)
    bench.annotating.brush.set_class(1)
    bench.paint(5, 10)
    bench.annotating.brush.set_class(2)
    assert bench.layer.selected_label == first


def test_there_is_no_class_beyond_the_last(bench: Bench) -> None:
    with pytest.raises(ValueError, match="classes are 1 to 1, found 2"):
        bench.annotating.brush.set_class(2)


def test_classes_are_renamed_recoloured_and_undone(bench: Bench) -> None:
    annotating = bench.annotating
    annotating.classes.rename(1, "nuclei")
    annotating.classes.recolour(1, "#ff0000")
    annotating.classes.set_kind(1, "regions")
    expected = ProjectClass(name="nuclei", colour="#ff0000", kind="regions")
    assert bench.store.project.classes == (expected,)
    for _ in range(3):
        annotating.undo()
    assert bench.store.project.classes == (ProjectClass(),)


def test_names_of_classes_are_there_and_different(bench: Bench) -> None:
    with pytest.raises(ValueError, match="needs a name"):
        bench.annotating.classes.add("  ")
    with pytest.raises(ValueError, match="a class 'cells' already"):
        bench.annotating.classes.add("cells")


def test_objects_of_a_removed_class_go_to_another(bench: Bench) -> None:
    for name in ("b", "c"):
        bench.annotating.classes.add(name)
    ids = []
    for number in (1, 2, 3):
        bench.annotating.brush.set_class(number)
        ids.append(bench.paint(5, 5 * number))
    with pytest.raises(
        ValueError, match="Say what the objects of cells become: 1 found"
    ):
        bench.annotating.classes.remove(1)
    bench.annotating.classes.remove(1, into=3)
    assert [c.name for c in bench.store.project.classes] == ["b", "c"]
    assert [bench.image.class_of.get(i, 1) for i in ids] == [2, 1, 2]
    bench.annotating.undo()
    assert [bench.image.class_of.get(i, 1) for i in ids] == [1, 2, 3]


def test_the_last_class_stays(bench: Bench) -> None:
    with pytest.raises(ValueError, match="There must be a class"):
        bench.annotating.classes.remove(1)


def test_a_cell_can_be_given_another_class(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    id_ = bench.paint(5, 5)
    bench.annotating.label_edits.set_class(id_, 2)
    assert bench.image.class_of == {id_: 2}
    assert bench.annotating.brush.active_class == 2
    assert bench.annotating.brush.painted_cell == id_
    with pytest.raises(ValueError, match="classes are 1 to 2, found 3"):
        bench.annotating.label_edits.set_class(id_, 3)
    assert bench.annotating.undo() == f"cell {id_} is dividing"
    assert bench.image.class_of.get(id_, 1) == 1


def test_areas_of_regions_do_not_change_their_class(bench: Bench) -> None:
    bench.annotating.classes.add("tissue", "regions")
    id_ = bench.paint(5, 5)
    with pytest.raises(ValueError, match="tissue are regions: erase and paint"):
        bench.annotating.label_edits.set_class(id_, 2)


def test_the_cell_under_the_mouse_can_be_given_another_class(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    first = bench.paint(5, 5)
    bench.annotating.brush.next_cell()
    second = bench.paint(5, 20)
    bench.viewer.cursor.position = bench.layer.data_to_world((5, 5))
    bench.annotating.label_edits.set_class_under_cursor(2)
    assert bench.image.class_of.get(first) == 2
    assert bench.image.class_of.get(second, 1) == 1
    bench.viewer.cursor.position = bench.layer.data_to_world((35, 50))
    with pytest.raises(ValueError, match="There is no painted cell under the mouse"):
        bench.annotating.label_edits.set_class_under_cursor(2)


def test_a_new_cell_is_none_at_hand_until_it_is_painted(bench: Bench) -> None:
    bench.annotating.brush.next_cell()
    assert bench.annotating.brush.painted_cell is None
    id_ = bench.paint(5, 5)
    assert bench.annotating.brush.painted_cell == id_
    bench.annotating.brush.background()
    assert bench.annotating.brush.painted_cell is None


def test_all_annotation_is_removed_and_comes_back(bench: Bench) -> None:
    bench.paint(5, 5)
    before = np.array(bench.layer.data)
    bench.annotating.remove_all()
    assert not np.any(bench.layer.data)
    assert not bench.image.annotated or bench.images.places(bench.id) == ()
    bench.annotating.undo()
    np.testing.assert_array_equal(bench.layer.data, before)


def paint_two_classes(bench: Bench) -> None:
    """Paint a cell of each, and wait for the table."""
    bench.annotating.classes.add("dividing")
    bench.paint(5, 5)
    bench.annotating.brush.set_class(2)
    bench.paint(5, 10)
    bench.annotating.layers._describing.seconds = 0
    bench.annotating.tick()


def test_the_features_table_names_the_class_of_each_cell(bench: Bench) -> None:
    paint_two_classes(bench)
    table = bench.layer.features
    assert dict(zip(table["index"], table["class"], strict=True)) == {
        1: "background",
        2: "cells",
        3: "dividing",
    }


def test_of_very_many_cells_those_of_the_first_class_are_not_listed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """napari's own Save finds their class, and all colours, in the note."""
    monkeypatch.setattr(annotation_layers, "_MANY", 2)
    paint_two_classes(bench)
    assert bench.layer.features["index"].tolist() == [1, 3]
    assert noted(bench.layer)["classes"] == [
        (one.name, one.colour) for one in bench.store.project.classes
    ]


def test_a_finished_slice_has_a_frame_and_counts_as_annotated(stack: Bench) -> None:
    stack.viewer.dims.set_current_step(0, 4)
    stack.annotating.finishing.finish_slice()
    assert stack.annotating.finishing.is_finished(stack.id, 0, 4)
    assert not stack.annotating.finishing.is_finished(stack.id, 0, 3)
    assert stack.images.places(stack.id) == ((0, 4),)
    # the layer's own frame: no further layer
    assert own_layers(stack, "finished") == []
    frame = stack.layer.bounding_box
    assert frame.visible
    stack.viewer.dims.set_current_step(0, 3)
    assert not frame.visible
    stack.viewer.dims.set_current_step(0, 4)
    assert frame.visible
    assert stack.annotating.undo() == "mark slice as finished"
    assert not frame.visible


def test_finished_parts_have_frames_in_a_layer(stack: Bench) -> None:
    stack.viewer.dims.set_current_step(0, 4)
    stack.layer.corner_pixels = np.array([[4, 10, 20], [4, 29, 49]])
    stack.annotating.finishing.finish_view()
    (frame,) = own_layers(stack, "finished")
    assert not frame.editable
    np.testing.assert_array_equal(
        frame.data[0],
        [[4, 9.5, 19.5], [4, 9.5, 49.5], [4, 29.5, 49.5], [4, 29.5, 19.5]],
    )
    assert stack.viewer.layers.selection.active is stack.layer
    assert not stack.layer.bounding_box.visible
    assert stack.annotating.undo() == "mark view as finished"
    assert own_layers(stack, "finished") == [frame]
    assert frame.nshapes == 0
    stack.annotating.finishing.finish_view()
    assert frame.nshapes == 1


def test_a_part_is_finished_until_the_whole_is(bench: Bench) -> None:
    bench.layer.corner_pixels = np.array([[10, 20], [29, 49]])
    bench.annotating.finishing.finish_view()
    (part,) = bench.image.finished
    assert part.box == ((10, 30), (20, 50))
    assert not bench.annotating.finishing.is_finished(bench.id, 0, 0)
    bench.annotating.finishing.toggle_slice()
    assert [p.box for p in bench.image.finished] == [((0, 40), (0, 60))]
    bench.annotating.finishing.toggle_slice()
    assert bench.image.finished == ()


def test_unlabelled_means_background_where_it_is_finished(bench: Bench) -> None:
    bench.paint(5, 5)
    bench.annotating.finishing.finish_slice()
    stored = bench.images.annotation_reference(bench.id)
    assert stored is not None
    targets = stored.field(0, 0).targets()
    assert (targets.classes[5, 5], targets.classes[0, 0]) == (1, 0)


def test_one_goes_from_annotated_slice_to_annotated_slice(stack: Bench) -> None:
    for z in (1, 4):
        stack.viewer.dims.set_current_step(0, z)
        stack.paint(5, 5, z=z)
    stack.viewer.dims.set_current_step(0, 2)
    stack.annotating.next_annotated(1)
    assert stack.images.place_in_view(stack.id) == (0, 4)
    stack.annotating.next_annotated(1)
    assert stack.images.place_in_view(stack.id) == (0, 4)
    stack.annotating.next_annotated(-1)
    assert stack.images.place_in_view(stack.id) == (0, 1)


def test_a_place_is_shown_in_the_middle(stack: Bench) -> None:
    stack.annotating.go_to(stack.id, 0, 2, (10, 25))
    # the camera moved from the viewer to its scene in napari 0.9
    scene = getattr(stack.viewer, "scene", stack.viewer)
    assert scene.camera.center[-2:] == (10, 25)
    assert stack.viewer.dims.point[0] == 4


def test_a_deleted_annotation_comes_back_with_all_that_was_painted(
    bench: Bench,
) -> None:
    bench.paint(5, 5)
    bench.viewer.layers.remove(bench.layer)
    assert bench.images.annotation_layer(bench.id) is None
    bench.layer = bench.annotating.layers.show(bench.id)
    assert bench.layer.data[5, 5] == 2
    assert bench.paint(5, 6) == 3


def test_renamed_and_moved_layers_go_on_being_recorded(bench: Bench) -> None:
    bench.layer.name = "mine"
    bench.viewer.layers.move(0, 2)
    bench.paint(5, 5)
    assert bench.store.annotation(bench.id).plane(0, 0)[5, 5] == 2


def test_a_copy_of_the_layer_is_not_the_annotation(bench: Bench) -> None:
    bench.viewer.add_labels(
        bench.layer.data.copy(), metadata=dict(bench.layer.metadata)
    )
    assert bench.images.annotation_layer(bench.id) is bench.layer


def test_an_annotation_outlives_its_image(bench: Bench) -> None:
    bench.viewer.layers.remove(bench.source)
    bench.paint(5, 5)
    bench.annotating.finishing.finish_slice()
    assert bench.store.annotation(bench.id).plane(0, 0)[5, 5] == 2


def test_layers_of_a_removed_image_come_back_by_undo(bench: Bench) -> None:
    bench.paint(5, 5)
    bench.images.remove(bench.id)
    assert bench.images.annotation_layer(bench.id) is None
    bench.annotating.undo()
    layer = bench.images.annotation_layer(bench.id)
    assert layer is not None
    assert layer.data[5, 5] == 2


def test_an_opened_project_shows_its_annotation(bench: Bench) -> None:
    bench.paint(5, 5)
    bench.annotating.finishing.finish_slice()
    bench.reopen()
    layers = own_layers(bench, "annotation")
    assert len(layers) == 1
    assert layers[0].data[5, 5] == 2
    assert layers[0].bounding_box.visible


def test_another_projects_layers_go_when_a_project_opens(bench: Bench) -> None:
    bench.paint(5, 5)
    old = bench.id
    bench.start_anew()
    assert find(bench.viewer, "annotation", old) == []
    assert not bench.layer.data.any()


def test_work_on_the_same_image_is_offered_and_restored(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    bench.annotating.brush.set_class(2)
    bench.paint(5, 5)
    before = bench.store.folder
    bench.start_anew()
    (offer,) = bench.annotating.earlier_work.of(bench.id) or ()
    assert (offer.folder, offer.slices, offer.cells) == (before, 1, 1)
    bench.annotating.importer.other_project(bench.id, offer)
    assert bench.layer.data[5, 5] == 2
    assert bench.image.class_of[2] == 2
    assert [c.name for c in bench.store.project.classes] == ["cells", "dividing"]
    bench.annotating.undo()
    assert not bench.layer.data.any()


def test_classes_of_restored_work_are_told_apart_by_name(bench: Bench) -> None:
    bench.annotating.classes.rename(1, "nuclei")
    bench.annotating.classes.add("mitosis")
    first = bench.paint(5, 5)
    bench.annotating.brush.set_class(2)
    second = bench.paint(20, 20)
    bench.start_anew()
    (offer,) = bench.annotating.earlier_work.of(bench.id) or ()
    # another image is annotated here with classes of its own
    other = bench.add(np.ones((40, 60), np.uint8), "other")
    bench.annotating.classes.add("mitosis", "regions")
    bench.annotating.layers.show(other.id).data_setitem(
        (np.array([5]), np.array([5])), 2
    )
    bench.annotating.importer.other_project(bench.id, offer)
    assert [(c.name, c.kind) for c in bench.store.project.classes] == [
        ("cells", "cells"),
        ("mitosis", "regions"),
        ("nuclei", "cells"),
        ("mitosis 2", "cells"),
    ]
    assert bench.image.class_of == {first: 3, second: 4}


def test_an_empty_annotation_is_not_offered(bench: Bench) -> None:
    bench.start_anew()
    assert bench.annotating.earlier_work.of(bench.id) == []


def masks() -> Any:
    values = np.zeros((40, 60), np.uint16)
    values[5:15, 5:15] = 1
    values[20:30, 20:30] = 4
    return values


def test_imported_masks_leave_what_was_painted_and_can_be_undone(bench: Bench) -> None:
    painted = bench.paint(6, 6)
    bench.annotating.importer.masks(bench.id, masks())
    assert bench.layer.data[6, 6] == painted
    assert bench.layer.data[0, 0] == 1
    cells = set(np.unique(bench.layer.data)) - {1, painted}
    assert len(cells) == 2
    assert bench.annotating.undo() == "import masks into cells"
    assert np.unique(bench.layer.data).tolist() == [0, painted]


def test_masks_replace_only_when_told(bench: Bench) -> None:
    painted = bench.paint(6, 6)
    bench.annotating.importer.masks(bench.id, masks(), "instances", replace=True)
    assert bench.layer.data[6, 6] not in (0, 1, painted)


def test_imported_cells_take_no_id_that_has_a_class(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    bench.annotating.brush.set_class(2)
    selected = bench.layer.selected_label
    bench.annotating.importer.masks(bench.id, masks(), "instances")
    cells = [i for i in np.unique(bench.layer.data) if i > 1]
    assert selected not in cells
    assert [bench.image.class_of.get(int(i), 1) for i in cells] == [1, 1]
    assert bench.layer.selected_label not in cells


def test_a_flat_mask_goes_to_the_slice_in_view(stack: Bench) -> None:
    stack.viewer.dims.set_current_step(0, 3)
    stack.annotating.importer.masks(stack.id, masks(), "instances")
    assert stack.images.places(stack.id) == ((0, 3),)
    with pytest.raises(ValueError, match=r"shape \(5, 40, 60\), found \(4, 4\)"):
        stack.annotating.importer.masks(stack.id, np.ones((4, 4), int))


def test_polygons_take_the_place_of_background_but_of_no_cell(bench: Bench) -> None:
    cell = bench.paint(6, 6)
    labels = np.where(bench.layer.data == 0, 1, bench.layer.data)
    bench.layer.data = labels
    square = np.array([[5, 5], [5, 8], [8, 8], [8, 5]])
    drawn = bench.viewer.add_shapes([square], shape_type="polygon", name="drawn")
    bench.annotating.importer.polygons(drawn)
    data = bench.layer.data
    assert data[6, 6] == cell
    assert data[7, 7] > cell
    assert data[20, 20] == 1
    with pytest.raises(ValueError, match="drawn lie on cells that are annotated"):
        bench.annotating.importer.polygons(drawn)


def test_an_image_that_comes_back_lies_under_its_annotation(bench: Bench) -> None:
    bench.paint(6, 6)
    pixels = bench.source.data
    bench.viewer.layers.remove(bench.source)
    image = bench.viewer.add_image(pixels, name="again")
    bench.annotating.tick()
    assert list(bench.viewer.layers) == [image, bench.layer]


def test_polygons_become_cells_of_the_active_class(bench: Bench) -> None:
    bench.annotating.classes.add("dividing")
    bench.annotating.brush.set_class(2)
    square = [[10, 10], [10, 14], [14, 14], [14, 10]]
    shapes = bench.viewer.add_shapes([square], shape_type="polygon", name="drawn")
    bench.viewer.layers.selection.active = bench.layer
    bench.annotating.importer.polygons(shapes)
    id_ = int(bench.layer.data[12, 12])
    assert id_ > 1
    assert bench.image.class_of[id_] == 2
    assert bench.layer.data[0, 0] == 0
    assert bench.annotating.undo() == "take the polygons of drawn"
    assert not bench.layer.data.any()


def test_a_ring_of_background_is_painted_and_undone_by_napari(bench: Bench) -> None:
    bench.paint(20, 20)
    bench.annotating.label_edits.add_background_ring(bench.id, 0, 0, 2)
    assert bench.layer.data[20, 18:23].tolist() == [1, 1, 2, 1, 1]
    assert bench.layer.data[20, 23] == 0
    bench.layer.undo()
    assert np.count_nonzero(bench.layer.data) == 1


def test_predicted_cells_are_taken_where_nothing_is_annotated(bench: Bench) -> None:
    painted = bench.paint(6, 6)
    predicted = masks()
    predicted[0, 0] = 9
    bench.annotating.brush.next_cell()
    assert (
        bench.annotating.label_edits.use_as_annotation(
            bench.id, predicted, 0, 0, {1, 4}
        )
        == 2
    )
    assert bench.layer.data[6, 6] == painted
    assert bench.layer.data[0, 0] == 0
    assert len({painted, *bench.layer.data[[7, 25], [7, 25]].tolist()}) == 3
    bench.layer.undo()
    assert np.count_nonzero(bench.layer.data) == 1


def test_a_predicted_cell_that_is_annotated_already_is_left_out(bench: Bench) -> None:
    bench.annotating.importer.masks(bench.id, masks(), "instances")
    before = bench.layer.data.copy()
    assert bench.annotating.label_edits.use_as_annotation(bench.id, masks(), 0, 0) == 0
    np.testing.assert_array_equal(bench.layer.data, before)


def test_keys_are_bound_to_the_annotation_layer_alone(bench: Bench) -> None:
    bench.paint(5, 5)
    bench.press("G")
    assert bench.layer.selected_label == 1
    bench.press("N")
    assert bench.layer.selected_label == 3
    bench.press("S")
    assert bench.annotating.finishing.is_finished(bench.id, 0, 0)
    bench.press("Alt-Z")
    assert not bench.annotating.finishing.is_finished(bench.id, 0, 0)
    other = bench.viewer.add_labels(np.zeros((4, 4), int))
    assert not other.keymap


def test_the_keys_of_a_layer_are_free_when_its_project_is_closed(bench: Bench) -> None:
    layer = bench.layer
    assert layer.keymap
    bench.start_anew()
    assert not layer.keymap


def test_a_deleted_layer_is_held_by_nobody(bench: Bench) -> None:
    """It may be as large as a stack."""
    layer = ref(bench.layer)
    bench.viewer.layers.remove(bench.layer)
    del bench.layer
    # napari itself holds the last one that was selected
    bench.viewer.layers.selection.active = bench.source
    gc.collect()
    assert layer() is None


def test_a_key_that_can_do_nothing_tells_why(bench: Bench) -> None:
    told: list[tuple[str, str]] = []
    bench.annotating.message.connect(lambda *message: told.append(message))
    bench.press("Control-5")
    assert told == [("warning", "classes are 1 to 1, found 5.")]


OTHER_KINDS = (
    "points",
    "shape",
    "image",
    "select_mode",
    "add_",
    "direct",
    "select_all",
    "vertex",
)


def test_no_key_is_taken_from_napari() -> None:
    from napari.utils.key_bindings import coerce_keybinding
    from napari.utils.shortcuts import default_shortcuts

    napari_keys = {
        str(coerce_keybinding(key))
        for action, keys in default_shortcuts.items()
        if "labels" in action or not any(kind in action for kind in OTHER_KINDS)
        for key in keys
    }
    ours = [s for s in (*SHORTCUTS, *EDIT_SHORTCUTS, *OF_CELLS) if s.action]
    assert len({s.keys for s in ours}) == len(ours)
    for shortcut in ours:
        assert str(coerce_keybinding(shortcut.keys)) not in napari_keys, shortcut


def test_neighbouring_ids_have_different_shades_and_all_values_a_colour() -> None:
    table = colour_table((ProjectClass(),), {}, range(31))
    np.testing.assert_array_equal(table[0], [0, 0, 0, 0])
    assert len(np.unique(table[2:5], axis=0)) == 3
    np.testing.assert_array_equal(table[2], table[5])
    assert table[1][3] == table[30][3] == 1
    assert table.shape == (31, 4)


@pytest.mark.parametrize("grey", [0.0, 0.3, 0.6, 0.95])
def test_the_first_cell_is_seen_on_dark_and_on_bright_images(grey: float) -> None:
    class_ = ProjectClass()
    first = colour_table((class_,), {}, [FIRST_OBJECT])[0, :3]
    under = np.full(3, grey)
    seen, bare = rgb2lab([OPACITY * first + (1 - OPACITY) * under, under])
    # a difference of 2 is just noticed side by side
    assert np.linalg.norm(seen - bare) > 20


def test_a_closed_project_is_not_written_any_more(bench: Bench) -> None:
    layer: Labels = bench.layer
    bench.close()
    layer.paint((5, 5), 2)
    assert not layer.keymap
    bench.open(ProjectStore.open(bench.store.folder))
    assert bench.images.places(bench.id) == ()


def test_what_the_check_finds_is_fixed_in_the_layer(bench: Bench) -> None:
    data_check = bench.data_check()
    bench.annotating.classes.add("dividing")
    bench.annotating.brush.set_class(2)
    id_ = int(bench.layer.selected_label)
    for x in (10, 40):
        bench.layer.brush_size = 8
        bench.layer.paint((20, x), id_)
    bench.annotating.tick()
    found = bench.check(data_check)
    assert data_check.name_of(0) == "cells"
    data_check.fix(found["split"])
    pieces = [int(bench.layer.data[20, x]) for x in (10, 40)]
    assert len({*pieces}) == 2
    assert [bench.image.class_of[i] for i in pieces] == [2, 2]
    data_check.fix(found["ring"])
    assert bench.layer.data[20, 16] == 1


def test_specks_of_regions_stay_also_where_regions_are_the_first_class(
    bench: Bench,
) -> None:
    data_check = bench.data_check()
    bench.annotating.classes.set_kind(1, "regions")
    bench.annotating.classes.add("cells too")
    bench.annotating.brush.set_class(2)
    cell = int(bench.layer.selected_label)
    area = cell + 1
    labels = np.zeros(bench.layer.data.shape, np.int32)
    labels[2:10, 2:10], labels[2, 20], labels[30:38, 2:10] = cell, cell, area
    labels[30, 30] = area
    bench.layer.data = labels
    bench.annotating.tick()
    data_check.fix(bench.check(data_check)["remove-specks"])
    assert (bench.layer.data[2, 20], bench.layer.data[30, 30]) == (0, area)


def test_a_new_check_ends_the_one_before(bench: Bench) -> None:
    data_check = bench.data_check()
    data_check.check()
    first = bench.worker.last
    data_check.check()
    assert bench.worker.cancelled == [first]
    assert bench.worker.last.job.halo == Training().architecture(1, 2).halo


def test_annotation_is_checked_where_the_network_cannot_be_had(bench: Bench) -> None:
    data_check = bench.data_check()
    volumes = Training.quick(ndim=3)
    slices_only = volumes.with_network("fcn8")
    bench.store.update(bench.store.project.replace(training=slices_only))
    data_check.check()
    assert bench.worker.last.job.halo == volumes.architecture(1, 2, 1).halo


def test_nothing_is_checked_without_an_open_image(bench: Bench) -> None:
    data_check = bench.data_check()
    bench.viewer.layers.remove(bench.source)
    data_check.check()
    assert bench.worker.handles == []


def test_a_check_that_failed_is_told_in_a_sentence(bench: Bench) -> None:
    data_check = bench.data_check()
    told: list[str] = []
    bench.session.message.connect(lambda _, words: told.append(words))
    data_check.check()
    bench.worker.fail(bench.worker.last, "The disk is gone.", "OSError")
    assert told == ["The check stopped: The disk is gone."]
    assert not data_check.running


def test_cells_that_touch_are_told_apart_at_the_next_tick(stack: Bench) -> None:
    def fill(z: int, columns: slice, id_: int) -> None:
        stack.layer.data[z, 5:9, columns] = id_
        stack.layer.refresh()

    def differ(one: int, other: int) -> bool:
        colours = (stack.layer.get_color(one), stack.layer.get_color(other))
        return bool(np.abs(colours[0] - colours[1]).max() > 0.2)

    stack.viewer.dims.set_current_step(0, 2)
    fill(2, slice(5, 9), 2)
    fill(2, slice(20, 24), 5)
    stack.annotating.tick()
    # far from each other they may have one colour
    assert not differ(2, 5)
    fill(2, slice(9, 20), 5)
    stack.annotating.tick()
    assert differ(2, 5)
    before = stack.layer.colormap
    stack.annotating.tick()
    assert stack.layer.colormap is before
    # those of another slice, once that is looked at
    stack.layer.data[3, :, 5:9], stack.layer.data[3, :, 9:12] = 3, 6
    stack.annotating.tick()
    stack.viewer.dims.set_current_step(0, 3)
    stack.annotating.tick()
    assert differ(3, 6)


class Later:
    """A thread whose work is done when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.counts: list[int] = []

    def __call__(self, work: Any, then: Any) -> None:
        self.calls.append((work, then))

    def run(self) -> None:
        for work, then in self.calls:
            made = work()
            then(lambda made=made: made)

    def done(self, count: Any) -> None:
        self.counts.append(count())


def test_masks_are_written_by_a_thread_while_nobody_paints(bench: Bench) -> None:
    bench.paint(1, 1)
    importer, later = bench.annotating.importer, Later()
    found = importer.mask_reader(bench.id, masks(), "instances", 9)()
    importer.begin_masks(bench.id, found, False, later, later.done)
    assert not bench.layer.editable
    # another step of the project meanwhile deletes no file that is being made
    bench.annotating.classes.rename(1, "nuclei")
    later.run()
    assert bench.layer.editable
    assert bench.layer.mode == "paint"
    assert later.counts == [1]
    assert bench.layer.data[1, 1] > 1
    assert bench.layer.data[25, 25] > 1
    assert [c.name for c in bench.store.project.classes] == ["nuclei"]
    np.testing.assert_array_equal(
        bench.layer.data, bench.store.annotation(bench.id).plane(0, 0)
    )
    assert bench.annotating.undo() == "import masks into cells"
    assert bench.layer.data[25, 25] == 0
    assert bench.layer.data[1, 1] > 1


def test_what_a_script_paints_while_masks_are_written_is_kept(bench: Bench) -> None:
    importer, later = bench.annotating.importer, Later()
    bench.paint(1, 1)
    found = importer.mask_reader(bench.id, masks(), "instances", 9)()
    importer.begin_masks(bench.id, found, False, later, later.done)
    bench.layer.data[2, 30] = 2
    bench.layer.refresh()
    later.run()
    assert later.counts == [1]
    assert bench.layer.data[2, 30] == 2
    assert bench.layer.data[25, 25] > 1
    files = {file.name for file in bench.store.folder.glob("annotation-*.raw")}
    assert len(files) == 2  # the present one, and the one before for undo


def test_masks_of_an_image_that_was_removed_meanwhile_are_dropped(bench: Bench) -> None:
    importer, later = bench.annotating.importer, Later()
    found = importer.mask_reader(bench.id, masks(), "instances", 9)()
    importer.begin_masks(bench.id, found, True, later, later.done)
    bench.images.remove(bench.id)
    with pytest.raises(ValueError, match="was removed from the project"):
        later.run()


def test_large_planes_are_told_apart_little_by_little(
    stack: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.session.annotating.colours._AT_A_TIME", 60 * 20)
    colours = stack.annotating.layers._shown[stack.id].colours
    # the two meet where one part ends
    stack.layer.data[2, 10:20, 5:9], stack.layer.data[2, 20:30, 5:9] = 2, 5
    stack.viewer.dims.set_current_step(0, 2)
    stack.layer.refresh()
    colours.tell_apart(0, 2)
    assert (stack.layer.get_color(2) == stack.layer.get_color(5)).all()
    colours.tell_apart(0, 2)
    assert (stack.layer.get_color(2) != stack.layer.get_color(5)).any()
