"""Cells edited by click and key, without a window and without processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tifffile import imread

from example_models import random_model
from napari_unet.core.cells.edited import with_edits
from napari_unet.core.jobs import ExportJob, PointsJob, SegmentJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.settings import Segmentation
from napari_unet.io.model_file import save_model
from napari_unet.session.editing.editor import CellEditor
from napari_unet.session.editing.stepping import inner_point
from napari_unet.session.images.layers import find
from napari_unet.session.models import ModelList
from napari_unet.session.preferences import Preferences
from napari_unet.session.project.store import ProjectStore
from session_bench import SessionBench
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.prediction.results import ResultLayers

# Three cells: one alone, and two that touch.
CELLS = np.zeros((12, 16), np.int32)
CELLS[1:5, 1:5] = 1
CELLS[7:11, 2:6] = 2
CELLS[7:11, 7:11] = 3
SURE = np.where(CELLS > 0, 0.9, 0.1).astype(np.float32)


class Bench(SessionBench):
    """An editor with everything around it, and predicted cells."""

    ndim = 2

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        model = store.run_folder / "model.safetensors"
        table = u_shape(ndim=self.ndim, channels=1, classes=2, width=2, depth=1)
        save_model(random_model(table), model)
        self.models = ModelList(store, Preferences())
        self.models.select(model)
        self.control = self.make_prediction(self.models)
        self.editor = CellEditor(self.session, self.control)
        settings = Segmentation(threshold=0.5, min_size=0, ridge=0)
        self.control.set_segmentation(settings)

    @property
    def image(self) -> ProjectImage:
        image = self.images.current
        assert image is not None
        return image

    @property
    def results(self) -> ResultLayers:
        return self.control.results[self.image.id]

    @property
    def layer(self) -> Any:
        return self.results.layer("cells")

    def predict(self, probable: NDArray[Any] = SURE) -> None:
        """Let a model have found where cells are, and where one ends."""
        entry = self.models.entry
        assert entry is not None
        results = self.control.model_results.of(
            self.image.id, entry, self.store.project
        )
        results.claim()
        results.cells.ndim = self.ndim  # type: ignore[assignment]
        results.files.arrays["probability"][1] = probable
        results.files.arrays["probability"][0] = 1 - probable
        sizes = self.image.sizes
        for t in range(sizes["t"]):
            for z in [None] if self.ndim == 3 else range(sizes["z"]):
                self.control.segmenter.predicted(results, (t, z))
        self.work()
        self.viewer.layers.selection.active = self.layer

    def work(self) -> None:
        """Do what the worker is asked for, until nothing is."""
        self.worker.do_all(SegmentJob)

    @property
    def cells(self) -> NDArray[np.int32]:
        return np.array(self.results.files.arrays["cells"])

    def at(self, y: float, x: float) -> list[tuple[float, ...]]:
        """Return a point of the slice in view, in the world."""
        here = self.viewer.dims.point
        return [(*here[:-2], y, x)]

    def way(self, *points: tuple[float, float]) -> list[tuple[float, ...]]:
        return [one for point in points for one in self.at(*point)]

    def point_at(self, y: float, x: float) -> None:
        (self.viewer.cursor.position,) = self.at(y, x)

    def painted(self) -> NDArray[Any]:
        (layer,) = find(self.viewer, "annotation")
        return np.array(layer.data)

    def close(self) -> None:
        self.editor.close()
        self.control.close()
        super().close()


@pytest.fixture
def bench(tmp_path: Path, clock: list[float]) -> Iterator[Bench]:
    bench = Bench(tmp_path, lambda call: call())
    bench.add(np.zeros(CELLS.shape, np.uint8))
    bench.predict()
    yield bench
    bench.close()


class VolumeBench(Bench):
    ndim = 3


@pytest.fixture
def volume(tmp_path: Path, clock: list[float]) -> Iterator[Bench]:
    """Return three slices that show the same cells, found as volumes."""
    bench = VolumeBench(tmp_path, lambda call: call())
    bench.add(np.zeros((3, *CELLS.shape), np.uint8))
    bench.predict()
    yield bench
    bench.close()


@pytest.fixture
def stack(tmp_path: Path, clock: list[float]) -> Iterator[Bench]:
    """Return three slices that show the same cells, found one by one and linked."""
    bench = Bench(tmp_path, lambda call: call())
    bench.add(np.zeros((3, *CELLS.shape), np.uint8))
    bench.predict()
    rest(bench, clock)
    yield bench
    bench.close()


def rest(bench: Bench, clock: list[float]) -> None:
    """Let what is done in the background be done."""
    clock[0] += 10
    bench.control.tick()
    bench.work()


def threshold(bench: Bench, value: float) -> None:
    settings = bench.control.segmentation.replace(threshold=value)
    bench.control.set_segmentation(settings)
    bench.work()


def test_an_edit_undone_elsewhere_says_where(stack: Bench) -> None:
    told: list[str] = []
    stack.session.message.connect(lambda _, sentence: told.append(sentence))
    stack.viewer.dims.set_current_step(0, 0)
    stack.editor.use("delete", stack.at(2, 2))
    stack.viewer.dims.set_current_step(0, 2)
    stack.editor.undo()
    assert told == ["Undone: delete, slice 0."]


def test_cells_of_a_slice_that_is_not_seen_stay(volume: Bench) -> None:
    before = volume.cells
    # z and x are on the canvas, and the pointer is on a cell of another slice
    volume.viewer.dims.order = (1, 0, 2)
    volume.viewer.cursor.position = (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="shows z and x: roll its axes"):
        volume.editor.delete_here()
    with pytest.raises(ValueError, match="Only slices can be edited"):
        volume.editor.use_slice()
    np.testing.assert_array_equal(volume.cells, before)
    volume.viewer.dims.order = (0, 1, 2)
    volume.viewer.dims.ndisplay = 3
    with pytest.raises(ValueError, match="go back to the 2-D view"):
        volume.editor.delete_here()
    np.testing.assert_array_equal(volume.cells, before)


def test_cells_are_found_as_they_are_meant_to_be(bench: Bench) -> None:
    np.testing.assert_array_equal(bench.cells, CELLS)


def test_each_tool_changes_what_it_is_used_on(bench: Bench) -> None:
    editor = bench.editor
    editor.use("delete", bench.at(2, 2))
    assert not bench.cells[1:5, 1:5].any()
    editor.use("merge", bench.way((9, 4), (9, 8)))
    assert (bench.cells[8:10, 2:11] == bench.cells[8, 2]).all()
    editor.use("split", bench.way((5, 6), (12, 6)))
    left, right = bench.cells[8, 3], bench.cells[8, 9]
    assert left != right
    assert (bench.cells[7:11, 2:6] == left).all()
    editor.use("add", bench.way((1, 11), (1, 14), (4, 14), (4, 11)))
    new = bench.cells[2, 12]
    assert new not in (0, left, right)
    assert (bench.cells[1:5, 11:15] == new).all()
    editor.use("redraw", bench.way((1, 12), (1, 14), (2, 14), (2, 12)))
    assert np.count_nonzero(bench.cells == new) == 6
    assert bench.control.cells_in_view() == 3


def test_edited_cells_survive_a_moved_threshold_and_another_prediction(
    bench: Bench,
) -> None:
    editor = bench.editor
    editor.use("reject", bench.at(2, 2))
    editor.use("split", bench.way((6, 4), (12, 4)))
    editor.use("add", bench.way((1, 11), (1, 14), (4, 14), (4, 11)))
    edited = bench.cells > 0
    parts = bench.cells[8, 2], bench.cells[8, 5]
    # nothing is found any more but what was edited
    threshold(bench, 0.95)
    assert (bench.cells[7:11, 2:6] > 0).all()
    assert bench.cells[8, 2] != bench.cells[8, 5]
    assert (bench.cells[1:5, 11:15] > 0).all()
    assert bench.cells.max() == 3
    threshold(bench, 0.5)
    np.testing.assert_array_equal(bench.cells > 0, edited)
    assert parts[0] != parts[1]
    bench.predict()
    np.testing.assert_array_equal(bench.cells > 0, edited)


def test_edits_are_kept_like_strokes(bench: Bench) -> None:
    bench.editor.use("delete", bench.at(2, 2))
    bench.editor.use("split", bench.way((6, 4), (12, 4)))
    edited = bench.cells
    file = bench.store.cell_edits(bench.image.id)
    assert file is not None
    # what a kill leaves: the file as it is now
    there = np.fromfile(file.path, np.int32).reshape(CELLS.shape)
    np.testing.assert_array_equal(with_edits(CELLS, there) > 0, edited > 0)
    bench.reopen()
    bench.predict()
    np.testing.assert_array_equal(bench.cells > 0, edited > 0)
    assert bench.cells[8, 2] != bench.cells[8, 5]


def test_a_saved_project_has_the_edits(bench: Bench, tmp_path: Path) -> None:
    bench.editor.use("delete", bench.at(2, 2))
    bench.store.save_as(tmp_path / "saved")
    bench.reopen(tmp_path / "saved")
    bench.predict()
    np.testing.assert_array_equal(bench.cells > 0, CELLS > 1)


def test_one_undo_is_one_edit(bench: Bench) -> None:
    editor, seen = bench.editor, [bench.cells]
    for name, points in (
        ("delete", bench.at(2, 2)),
        ("merge", bench.at(9, 4)),
        ("accept", bench.at(9, 4)),
        ("reject", bench.at(9, 4)),
    ):
        editor.use(name, points)
        seen.append(bench.cells)
    for before in reversed(seen[:-1]):
        editor.undo()
        np.testing.assert_array_equal(bench.cells, before)
    assert not np.asarray(bench.store.cell_edits(bench.image.id).array).any()
    assert bench.control.cells_in_view() == 3
    with pytest.raises(ValueError, match="no edit"):
        editor.undo()
    for after in seen[1:]:
        editor.redo()
        np.testing.assert_array_equal(bench.cells, after)
    assert bench.control.cells_in_view() == 0


def test_undo_after_a_moved_threshold_finds_the_cells_anew(bench: Bench) -> None:
    bench.editor.use("delete", bench.at(2, 2))
    threshold(bench, 0.95)
    bench.editor.undo()
    bench.work()
    assert not bench.cells.any()
    threshold(bench, 0.5)
    np.testing.assert_array_equal(bench.cells, CELLS)


def test_undo_gives_no_cell_the_id_that_another_one_has_now(bench: Bench) -> None:
    bench.editor.use("delete", bench.at(2, 2))
    # the others are found again, and the first of them has the id of the deleted one
    threshold(bench, 0.6)
    assert bench.cells[8, 3] == 1
    bench.editor.undo()
    bench.work()
    np.testing.assert_array_equal(bench.cells, CELLS)
    assert bench.control.cells_in_view() == 3


def test_accepting_and_rejecting_goes_into_the_annotation_and_back(
    bench: Bench,
) -> None:
    bench.editor.use("accept", bench.at(2, 2))
    bench.editor.use("reject", bench.at(9, 9))
    painted = bench.painted()
    assert (painted[1:5, 1:5] > 1).all()
    assert (painted[7:11, 7:11] == 1).all()
    assert np.count_nonzero(painted) == 32
    # who steps from cell to cell goes on with the predicted ones
    assert bench.viewer.layers.selection.active is bench.layer
    bench.editor.undo()
    bench.editor.undo()
    assert not bench.painted().any()
    bench.editor.redo()
    np.testing.assert_array_equal(bench.painted() > 1, CELLS == 1)


def test_what_was_looked_at_becomes_annotation(bench: Bench) -> None:
    with pytest.raises(ValueError, match="yet"):
        bench.editor.use_looked_at()
    bench.editor.use("delete", bench.at(2, 2))
    bench.editor.use("split", bench.way((6, 4), (12, 4)))
    assert bench.editor.use_looked_at() == 2
    painted = bench.painted()
    assert (painted[1:5, 1:5] == 1).all()
    assert len(np.unique(painted[7:11, 2:6])) == 2
    assert not painted[7:11, 7:11].any()


def test_forgetting_brings_back_what_was_found(bench: Bench) -> None:
    bench.editor.use("delete", bench.at(2, 2))
    bench.editor.use("merge", bench.at(9, 4))
    edited = bench.cells
    bench.editor.forget()
    bench.work()
    np.testing.assert_array_equal(bench.cells, CELLS)
    bench.editor.undo()
    bench.work()
    np.testing.assert_array_equal(bench.cells > 0, edited > 0)
    bench.editor.redo()
    with pytest.raises(ValueError, match="Nothing"):
        bench.editor.forget()


def test_an_edit_while_cells_are_being_found_is_not_lost(bench: Bench) -> None:
    settings = bench.control.segmentation.replace(threshold=0.4)
    bench.control.set_segmentation(settings)
    (handle,) = bench.worker.running(SegmentJob)
    events = bench.worker.compute(handle)
    bench.editor.use("delete", bench.at(2, 2))
    # the worker writes what it found before it could know
    np.copyto(bench.results.files.arrays["cells"], CELLS)
    bench.worker.emit(handle, *events)
    bench.worker.end(handle)
    bench.work()
    np.testing.assert_array_equal(bench.cells > 0, CELLS > 1)


def test_steps_go_to_the_least_sure_cell_that_was_not_looked_at(bench: Bench) -> None:
    probable = SURE.copy()
    probable[CELLS == 2] = 0.6
    probable[CELLS == 3] = 0.7
    bench.predict(probable)
    seen = []
    bench.editor.pointed.connect(seen.append)
    for by in (1, 1, 1, 1, -1):
        bench.editor.step(by)
    at = [int(CELLS[int(y), int(x)]) for y, x in seen]
    assert at == [2, 3, 1, 2, 1]
    bench.editor.accept_here()
    bench.editor.step(1)
    bench.editor.reject_here()
    bench.editor.step(1)
    assert int(CELLS[tuple(int(v) for v in seen[-1])]) == 3
    bench.editor.delete_here()
    told: list[tuple[str, str]] = []
    bench.editor.message.connect(lambda *words: told.append(words))
    bench.editor.step(1)
    assert told == [("info", "All predicted cells of this slice were looked at.")]


def test_where_no_cell_is_painted_a_step_says_so(bench: Bench) -> None:
    layer = bench.annotating.layers.show(bench.image.id)
    told: list[str] = []
    bench.editor.message.connect(lambda _level, sentence: told.append(sentence))
    bench.viewer.layers.selection.active = layer
    bench.editor.step(1)
    (cells,) = find(bench.viewer, "cells")
    none = "No cell is painted in this slice."
    assert told == [f"{none} Select {cells.name} for the predicted ones."]


def test_a_large_slice_is_searched_part_by_part_for_the_next_cell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 3  # the first cell and the two others each lie in several parts
    monkeypatch.setattr(
        "napari_unet.session.editing.stepping._AT_A_TIME", rows * CELLS.shape[1]
    )
    probable = SURE.copy()
    # the mean of the second is 0.7: that of its first row alone would be the least
    probable[7, 2:6], probable[8:11, 2:6] = 0.55, 0.75
    probable[CELLS == 3] = 0.65
    bench.predict(probable)
    posted: list[Callable[[], None]] = []
    bench.editor._post = posted.append
    seen = []
    bench.editor.pointed.connect(seen.append)
    bench.editor.step(1)
    # asked for before it is there: it comes after it
    bench.editor.step(1)
    while posted:
        posted.pop(0)()
    assert [int(CELLS[int(y), int(x)]) for y, x in seen] == [3, 2]
    assert bench.editor.stepped == "Cell 2 of 3 to be looked at, probability 0.70."


def test_a_cell_keeps_its_colour_when_its_id_changes(bench: Bench) -> None:
    def colours() -> list[Any]:
        ids = [bench.cells[place] for place in ((2, 2), (8, 3), (8, 8))]
        return bench.layer.colormap.map(np.array(ids)).tolist()

    before = colours()
    # the first goes: the others are found with ids one lower
    bench.editor.use("reject", bench.at(2, 2))
    threshold(bench, 0.6)
    assert bench.cells[8, 3] == 1
    assert colours()[1:] == before[1:]
    bench.editor.undo()
    bench.work()
    assert bench.cells[8, 3] == 2
    assert colours()[1:] == before[1:]


def test_a_cell_keeps_its_colour_when_slices_are_linked(
    tmp_path: Path, clock: list[float]
) -> None:
    bench = Bench(tmp_path, lambda call: call())
    bench.add(np.zeros((2, *CELLS.shape), np.uint8))
    # the second slice has one cell less: its ids change when they are linked
    bench.predict(np.stack([SURE, np.where(CELLS > 1, SURE, 0.1)]))
    bench.viewer.dims.set_current_step(0, 1)
    bench.work()
    bench.control.tick()
    before = bench.layer.colormap.map(np.array([1, 2])).tolist()
    assert bench.cells[1, 8, 3] == 1
    rest(bench, clock)
    assert bench.cells[1, 8, 3] == 2
    assert bench.layer.colormap.map(np.array([2, 3])).tolist() == before
    # and again, when another threshold finds them anew
    threshold(bench, 0.6)
    rest(bench, clock)
    assert bench.layer.colormap.map(np.array([2, 3])).tolist() == before
    bench.close()


def test_strokes_that_do_nothing_say_why(bench: Bench) -> None:
    for name, points, why in (
        ("delete", bench.at(0, 0), "no cell here"),
        ("merge", bench.way((2, 2), (3, 3)), "Only one cell"),
        ("split", bench.way((0, 0), (0, 3)), "no cell"),
        ("add", bench.way((2, 2), (2, 3), (3, 3)), "no room"),
        ("redraw", bench.way((0, 12), (0, 14), (4, 14)), "no cell in this outline"),
    ):
        with pytest.raises(ValueError, match=why):
            bench.editor.use(name, points)
    np.testing.assert_array_equal(bench.cells, CELLS)
    assert bench.store.cell_edits(bench.image.id) is None


def test_painted_cells_are_edited_with_the_same_tools(bench: Bench) -> None:
    layer = bench.annotating.layers.show(bench.image.id)
    layer.data[:] = np.where(CELLS > 0, CELLS + 1, 0)
    layer.data[0, 15] = 1
    bench.annotating.tick()
    before = np.array(layer.data)
    bench.editor.use("delete", bench.at(2, 2))
    assert not bench.painted()[1:5, 1:5].any()
    bench.editor.use("merge", bench.at(9, 4))
    assert (bench.painted()[8:10, 2:11] == bench.painted()[8, 2]).all()
    bench.editor.use("split", bench.way((5, 6), (12, 6)))
    assert bench.painted()[8, 3] != bench.painted()[8, 9]
    bench.editor.use("add", bench.way((0, 12), (0, 15), (4, 15), (4, 12)))
    assert (bench.painted()[0:5, 12:16] > 1).all()
    bench.annotating.tick()
    saved = bench.store.annotation(bench.image.id).array
    np.testing.assert_array_equal(saved, bench.painted())
    np.testing.assert_array_equal(bench.cells, CELLS)
    # napari's own undo: one for each edit
    for _ in range(4):
        layer.undo()
    np.testing.assert_array_equal(bench.painted(), before)


def test_cells_of_volumes_are_deleted_merged_and_held_as_a_whole(
    volume: Bench,
) -> None:
    whole = np.stack([CELLS] * 3)
    np.testing.assert_array_equal(volume.cells, whole)
    volume.viewer.dims.set_current_step(0, 1)
    volume.editor.use("delete", volume.at(2, 2))
    assert not volume.cells[:, 1:5, 1:5].any()
    volume.editor.use("merge", volume.way((9, 4), (9, 8)))
    assert (volume.cells[whole > 1] == volume.cells[1, 8, 3]).all()
    volume.editor.use("split", volume.way((5, 6), (12, 6)))
    # the larger part goes on in the other slices, the other part is of this one
    first, second = volume.cells[1, 8, 3], volume.cells[1, 8, 9]
    assert first != second
    assert second not in volume.cells[[0, 2]]
    edited = volume.cells
    threshold(volume, 0.95)
    np.testing.assert_array_equal(volume.cells > 0, edited > 0)
    assert len(np.unique(volume.cells)) == 3
    for _ in range(3):
        volume.editor.undo()
    volume.work()
    threshold(volume, 0.5)
    np.testing.assert_array_equal(volume.cells, whole)


def test_a_slice_of_a_stack_is_edited_and_linked_anew(
    stack: Bench, clock: list[float]
) -> None:
    np.testing.assert_array_equal(stack.cells, np.stack([CELLS] * 3))
    stack.viewer.dims.set_current_step(0, 1)
    stack.editor.use("delete", stack.at(2, 2))
    assert not stack.cells[1, 1:5, 1:5].any()
    assert stack.cells[0, 2, 2] == stack.cells[2, 2, 2]
    rest(stack, clock)
    # nothing links the cell of the first slice with that of the last any more
    assert stack.cells[0, 2, 2] != stack.cells[2, 2, 2]
    assert stack.cells[0, 9, 4] == stack.cells[2, 9, 4]
    stack.editor.undo()
    rest(stack, clock)
    np.testing.assert_array_equal(stack.cells, np.stack([CELLS] * 3))


def test_tracks_follow_the_edited_cells(tmp_path: Path, clock: list[float]) -> None:
    bench = Bench(tmp_path, lambda call: call())
    bench.add(np.zeros((3, *CELLS.shape), np.uint8), axes="tyx")
    bench.control.set_segmentation(bench.control.segmentation.replace(track=True))
    bench.predict()
    rest(bench, clock)
    (layer,) = find(bench.viewer, "tracks")
    assert len(layer.data) == 9
    bench.viewer.dims.set_current_step(0, 2)
    bench.editor.use("reject", bench.at(2, 2))
    rest(bench, clock)
    assert len(layer.data) == 8
    assert not bench.cells[2, 1:5, 1:5].any()
    bench.close()


def test_files_and_points_have_the_edited_cells(
    bench: Bench, tmp_path: Path, clock: list[float]
) -> None:
    bench.control.points.show(bench.image.id)
    bench.editor.use("reject", bench.at(2, 2))
    bench.editor.use("split", bench.way((6, 4), (12, 4)))
    rest(bench, clock)
    bench.worker.do_all(PointsJob)
    (points,) = find(bench.viewer, "points")
    assert len(points.data) == 3
    bench.control.exporter.export(tmp_path, [bench.image.id], objects=["geojson"])
    until(lambda: bench.worker.running(ExportJob))
    bench.worker.do_all(ExportJob)
    np.testing.assert_array_equal(imread(tmp_path / "nuclei_cells.tif"), bench.cells)
    table = (tmp_path / "nuclei_cells.csv").read_text().splitlines()
    assert len(table) == 1 + 3
    assert (tmp_path / "nuclei_cells.geojson").read_text().count("Polygon") == 3


def test_an_old_record_that_does_not_fit_is_left_out_and_said(bench: Bench) -> None:
    bench.editor.use("delete", bench.at(2, 2))
    file = bench.store.cell_edits(bench.image.id)
    assert file is not None
    bench.close()
    with file.path.open("ab") as damaged:
        damaged.write(b"more")
    bench.open(ProjectStore.open(bench.store.folder))
    told: list[tuple[str, str]] = []
    bench.control.message.connect(lambda *words: told.append(words))
    bench.predict()
    np.testing.assert_array_equal(bench.cells, CELLS)
    assert [level for level, _ in told] == ["error"]
    assert "Edits of cells are left out" in told[0][1]
    with pytest.raises(ValueError, match="bytes"):
        bench.editor.use("delete", bench.at(2, 2))


def _shapes() -> Iterator[NDArray[np.bool_]]:
    """Yield a plane that is all cell, a pixel in a corner, a ring, a C, and specks."""
    y, x = np.indices((40, 60))
    ring = np.abs(np.hypot(y - 18, x - 31) - 15) < 1.5
    yield np.ones((40, 60), bool)
    yield (y == 39) & (x == 0)
    yield ring
    yield ring & (x < 35)
    for seed in range(20):
        yield np.random.default_rng(seed).random((40, 60)) > 0.998


@pytest.mark.parametrize("cell", list(_shapes()))
def test_a_step_goes_to_the_pixel_of_a_cell_that_is_nearest_to_its_centre(
    cell: NDArray[np.bool_],
) -> None:
    places = np.argwhere(cell)
    far = np.linalg.norm(places - places.mean(axis=0), axis=1)
    y, x = inner_point(cell)
    assert cell[int(y), int(x)]
    assert np.hypot(y - places[:, 0].mean(), x - places[:, 1].mean()) == pytest.approx(
        far.min()
    )
