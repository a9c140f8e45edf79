"""Training as the docks see it; the jobs are only noted, see `test_training_run`."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core import events
from napari_unet.core.jobs import PredictJob
from napari_unet.core.model import Model, ModelCard, Score
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.training.training_settings import Training
from napari_unet.io.model_file import save_model
from napari_unet.session import throttle
from napari_unet.session.annotating.classes import record_classes
from napari_unet.session.training.run_record import RunRecord
from napari_unet.session.training.runs import RunList
from napari_unet.session.worker.client import WORKER_ENDED
from session_bench import SessionBench
from waiting import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Pump
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Handle

TINY = Training(width=4, depth=2, patch=20, batch=1, steps=30, minutes=0)


class Bench(SessionBench):
    """A project with an image, and what trains on it."""

    def __init__(self, tmp_path: Path, pump: Pump, shape: tuple[int, ...]) -> None:
        super().__init__(tmp_path, pump.post)
        self.pump = pump
        pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        self.image = self.add(pixels)
        self.layer = self.images.layers(self.image.id)[0]
        self.control.plan.set(training=TINY)

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.messages: list[tuple[str, str]] = []
        self.control = self.make_training()
        self.control.message.connect(lambda *words: self.messages.append(words))

    def paint(self, value: int, y: int, x: int, *at: int) -> None:
        layer = self.images.annotation_layer(self.image.id)
        if layer is None:
            layer = self.annotating.layers.show(self.image.id)
        box = np.meshgrid(np.arange(y, y + 8), np.arange(x, x + 8), indexing="ij")
        pixels = [axis.ravel() for axis in box]
        where = [np.full(64, i) for i in at]
        for axis, step in enumerate(at):
            self.viewer.dims.set_current_step(axis, step)
        layer.data_setitem((*where, *pixels), value)

    def paint_both(self) -> None:
        self.paint(2, 10, 10)
        self.paint(1, 30, 30)

    def start(self) -> Handle:
        self.control.start()
        return self.submitted()

    def submitted(self) -> Handle:
        """The handle of the run, once its pixels are copied."""
        self.pump.until(lambda: self.control.run and self.control.run.handle)
        assert self.control.run is not None
        assert self.control.run.handle is not None
        return self.control.run.handle

    def begin(self, handle: Handle, steps: int = 1) -> Handle:
        """Take the first steps."""
        started = events.TrainingStarted(0, "CPU", "fp32", "nothing is held out")
        self.worker.emit(handle, started)
        for step in range(1, steps + 1):
            self.worker.emit(handle, events.StepDone(step, 0.5, step / 30, 30.0 - step))
        return handle

    def close(self) -> None:
        self.control.close()
        super().close()


@pytest.fixture
def bench(tmp_path: Path, pump: Pump) -> Iterator[Bench]:
    bench = Bench(tmp_path, pump, (60, 70))
    yield bench
    bench.close()


@pytest.fixture
def stack(tmp_path: Path, pump: Pump) -> Iterator[Bench]:
    bench = Bench(tmp_path, pump, (4, 60, 70))
    yield bench
    bench.close()


def saved_as(handle: Handle, problem: str | None = None) -> events.ModelSaved:
    """Write a model as the worker would at the end."""
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
    card = ModelCard(architecture=table, classes=(), training=TINY, steps=30)
    save_model(Model(card, {"w": np.zeros(1, np.float32)}), handle.job.output)
    return events.ModelSaved(handle.job.output, card, 30, 1.0, problem)


def test_a_project_without_annotation_says_what_to_do(bench: Bench) -> None:
    possible, why = bench.control.can_start
    assert not possible
    assert why == (
        "Paint a few cells and some background in the Annotate dock, then press Train."
    )
    bench.control.start()
    assert bench.messages == [("warning", why)]
    assert bench.control.state == "idle"


@pytest.mark.parametrize(
    ("value", "words"),
    [(2, "or press Fix in the data check"), (1, "Only background is painted")],
)
def test_one_class_alone_is_not_trained_on(
    bench: Bench, value: int, words: str
) -> None:
    bench.paint(value, 10, 10)
    bench.annotating.object_index.update_all(DEADLINE)
    possible, why = bench.control.can_start
    assert not possible
    assert words in why


def by_painting(bench: Bench) -> None:
    bench.paint(2, 10, 10)


def by_masks(bench: Bench) -> None:
    masks = np.zeros((60, 70), np.uint16)
    masks[10:20, 10:20], masks[30:40, 30:40] = 1, 2
    bench.annotating.importer.masks(bench.image.id, masks, "instances")


def by_polygons(bench: Bench) -> None:
    square = np.array([[10, 10], [10, 20], [20, 20], [20, 10]])
    bench.annotating.importer.polygons(bench.viewer.add_shapes([square]))


def by_predicted_cells(bench: Bench) -> None:
    cells = np.zeros((60, 70), np.int32)
    cells[10:20, 10:20] = 5
    bench.annotating.label_edits.use_as_annotation(bench.image.id, cells, 0, 0)


@pytest.mark.parametrize(
    "annotate", [by_painting, by_masks, by_polygons, by_predicted_cells]
)
def test_an_image_that_was_predicted_first_is_learnt_from_once_annotated(
    bench: Bench, annotate: Callable[[Bench], None]
) -> None:
    bench.images.set_use_for_training(bench.image.id, False)
    annotate(bench)
    assert bench.store.project.image(bench.image.id).use_for_training
    assert [image.id for image in bench.control.training_data.chosen()] == [
        bench.image.id
    ]


def test_who_unticks_an_annotated_image_is_obeyed(bench: Bench) -> None:
    bench.paint(2, 10, 10)
    bench.images.set_use_for_training(bench.image.id, False)
    bench.paint(3, 30, 10)
    bench.images.annotation_layer(bench.image.id)
    by_masks(bench)
    assert not bench.store.project.image(bench.image.id).use_for_training


def test_what_is_annotated_and_not_learnt_from_is_named(bench: Bench) -> None:
    bench.paint_both()
    first = bench.image
    assert bench.control.training_data.summary().omission == ""
    for number in range(2, 7):
        layer = bench.viewer.add_image(np.full((60, 70), number), name=f"well {number}")
        bench.image = bench.images.add([layer])
        bench.paint_both()
    others = bench.store.project.images[1:]
    bench.images.set_use_for_training(others[0].id, False)
    (closed,) = bench.images.layers(others[1].id)
    bench.viewer.layers.remove(closed)
    told = bench.control.training_data.summary()
    assert told.images == 4
    assert told.omission == "Not learnt from: well 2 (not ticked), well 3 (closed)."
    for other in others[2:]:
        bench.images.set_use_for_training(other.id, False)
    assert bench.control.training_data.summary().omission == (
        "Not learnt from: well 2 (not ticked), well 3 (closed), well 4 (not ticked) "
        "and 2 more."
    )
    bench.images.set_use_for_training(first.id, False)
    layer = bench.viewer.add_image(np.zeros((60, 70), np.uint8), name="empty")
    bench.images.add([layer])
    possible, why = bench.control.can_start
    assert not possible
    assert "well 3 again" in why
    bench.images.set_use_for_training(others[1].id, False)
    assert bench.control.can_start[1] == (
        "nuclei is annotated, but not ticked: tick it in the Annotate dock to train "
        "on it."
    )


def test_an_image_that_is_not_ticked_is_not_trained_on(bench: Bench) -> None:
    bench.paint_both()
    bench.images.set_use_for_training(bench.image.id, False)
    assert bench.control.can_start == (
        False,
        "Tick an image to train on in the Annotate dock.",
    )


def test_a_finished_slice_with_cells_needs_no_painted_background(bench: Bench) -> None:
    bench.paint(2, 10, 10)
    bench.annotating.finishing.finish_slice()
    bench.annotating.object_index.update_all(DEADLINE)
    assert bench.control.can_start == (True, "")
    assert str(bench.control.training_data.summary()) == (
        "1 slice of 1 image: 1 cell, background in 1 slice"
    )


def test_the_summary_counts_an_id_in_two_slices_as_one_cell(stack: Bench) -> None:
    stack.paint(2, 10, 10, 0)
    stack.paint(2, 10, 10, 1)
    stack.paint(3, 30, 10, 1)
    stack.paint(1, 30, 40, 1)
    stack.annotating.object_index.update_all(DEADLINE)
    assert str(stack.control.training_data.summary()) == (
        "2 slices of 1 image: 2 cells, background in 1 slice"
    )


def test_regions_are_not_counted_as_cells(bench: Bench) -> None:
    bench.annotating.classes.add("tissue", "regions")
    bench.paint_both()
    bench.paint(3, 10, 30)
    record_classes(bench.store, bench.image.id, {3: 2})
    bench.annotating.object_index.update_all(1)
    told = bench.control.training_data.summary()
    assert str(told) == "1 slice of 1 image: 1 cell, tissue, background in 1 slice"
    assert told.classes == {0, 1, 2}
    bench.annotating.classes.set_kind(1, "regions")
    told = bench.control.training_data.summary()
    assert told.objects == "cells, tissue"
    bench.annotating.classes.rename(1, "lumen")
    assert "1 image: lumen, tissue," in str(bench.control.training_data.summary())


def test_volumes_need_a_z_axis(bench: Bench) -> None:
    bench.paint_both()
    bench.control.plan.set(training=Training.quick(3))
    possible, why = bench.control.can_start
    assert not possible
    assert why == "nuclei has no z axis: train on slices (2-D), or untick it."


def test_the_job_has_the_annotated_planes_and_readable_names(stack: Bench) -> None:
    stack.paint(2, 10, 10, 1)
    stack.paint(1, 30, 30, 3)
    job = stack.start().job
    assert job.places == (((0, 1), (0, 3)),)
    assert job.images[0].name == "nuclei"
    assert job.settings == TINY
    assert job.output.startswith(f"{stack.store.run_folder}/nuclei 2")
    assert job.checkpoint.endswith(".checkpoint.safetensors")
    assert (job.start, job.resume, job.device) == (None, False, "cpu")
    labels = job.annotations[0].labels.open()
    assert (labels[1, 12, 12], labels[3, 32, 32]) == (2, 1)
    # the pixels are there for the worker, all of the frame
    assert np.array_equal(job.images[0].channels[0].open(), stack.layer.data)


def test_volumes_are_whole_time_points(stack: Bench) -> None:
    stack.paint(2, 10, 10, 1)
    stack.paint(1, 30, 30, 3)
    stack.control.plan.set(training=Training.quick(3))
    assert stack.start().job.places == (((0, None),),)


def test_a_run_goes_from_start_to_a_model(bench: Bench) -> None:
    bench.paint_both()
    states = []
    bench.control.changed.connect(lambda: states.append(bench.control.state))
    done: list[events.ModelSaved] = []
    bench.control.finished.connect(done.append)
    handle = bench.start()
    assert bench.control.state == "starting"
    bench.begin(handle, steps=3)
    assert bench.control.state == "training"
    assert bench.control.progress.share == pytest.approx(0.1)
    assert bench.control.progress.seconds_left == 27.0
    assert bench.control.progress.curve.loss == pytest.approx(0.5)
    assert bench.control.progress.step == 3
    bench.worker.emit(
        handle, events.ValidationDone(3, Score(loss=0.4, iou=0.7, pixels=9), True)
    )
    assert bench.control.progress.curve.scores == [(3, 0.7, 0.4)]
    bench.worker.emit(
        handle, saved_as(handle, problem="The loss became infinite; try less.")
    )
    comparison = events.ModelComparison("better", "Better than before.")
    bench.worker.emit(handle, comparison)
    bench.worker.end(handle)
    assert bench.control.state == "idle"
    assert bench.control.progress.comparison is comparison
    assert done[0].path == handle.job.output
    assert bench.messages == [("warning", "The loss became infinite; try less.")]
    assert bench.control.plan.checkpoint is None
    assert next(p for p in states if p != "idle") == "starting"


def test_progress_is_told_at_most_ten_times_per_second(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    told = count()
    bench.control.changed.connect(lambda: next(told))
    for step in range(200):
        bench.worker.emit(handle, events.StepDone(step, 0.5, 0.1, 1.0))
    assert next(told) < 100
    assert bench.control.progress.step == 199


def test_a_run_can_pause_go_on_and_stop(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    bench.control.pause()
    assert bench.control.state == "paused"
    bench.control.resume()
    assert bench.control.state == "training"
    bench.control.stop()
    assert bench.control.state == "stopping"
    assert bench.worker.asked(handle) == ["Pause", "Resume", "Finish"]
    assert bench.control.can_start[0] is False


def test_a_run_stopped_before_its_first_step_leaves_nothing(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.control.stop()
    assert bench.worker.asked(handle) == ["Cancel"]
    bench.worker.end(handle, cancelled=True)
    assert bench.control.state == "idle"
    assert bench.control.plan.checkpoint is None


def test_a_run_stopped_before_its_pixels_are_shared_is_never_begun(
    bench: Bench,
) -> None:
    bench.paint_both()
    bench.control.start()
    bench.control.stop()
    assert bench.control.state == "idle"
    posted = []
    bench.pump.post(lambda: posted.append(1))
    bench.pump.until(lambda: posted)
    assert not bench.worker.handles


def test_after_the_death_of_the_worker_the_next_press_goes_on(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    open(handle.job.checkpoint, "w").close()
    bench.worker.fail(handle, "It died.", WORKER_ENDED)
    assert bench.messages == [
        (
            "error",
            "The training process was ended: press Train to go on from the last "
            "checkpoint.",
        )
    ]
    assert bench.control.state == "idle"
    assert str(bench.control.plan.checkpoint) == handle.job.checkpoint
    bench.control.plan.set(training=TINY.replace(patch=44))
    again = bench.start()
    assert again.job.resume
    assert again.job.settings == TINY
    assert again.job.output == handle.job.output


def test_after_memory_ran_out_patches_are_half_the_size(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    open(handle.job.checkpoint, "w").close()
    bench.worker.fail(handle, "It died.", WORKER_ENDED, out_of_memory=True)
    assert bench.messages[-1][1] == (
        "Memory ran out: press Train to go on from "
        "the last checkpoint, with smaller patches."
    )
    again = bench.start().job
    assert (again.resume, again.settings.patch) == (True, 10)


def test_memory_that_ran_out_before_a_checkpoint_is_remembered(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.worker.fail(handle, "No memory.", "OutOfMemoryError", out_of_memory=True)
    assert bench.control.plan.checkpoint is None
    again = bench.start()
    assert (again.job.resume, again.job.settings.patch) == (False, 10)
    bench.worker.fail(again, "No memory.", "OutOfMemoryError", out_of_memory=True)
    bench.control.plan.set(training=TINY.replace(patch=12))
    # which stays so when the list of runs changes
    bench.control.on_runs_renamed()
    assert bench.start().job.settings.patch == 12


def test_an_error_is_told_as_it_is(bench: Bench) -> None:
    bench.paint_both()
    bench.worker.fail(bench.start(), "Nothing is annotated.", "ValueError")
    assert bench.messages == [("error", "Nothing is annotated.")]
    assert bench.control.state == "idle"


@pytest.mark.parametrize("error", ["ValueError", "IndexError", "OSError"])
def test_an_error_of_a_running_training_leaves_its_checkpoint(
    bench: Bench, error: str
) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    with open(handle.job.checkpoint, "w") as file:
        file.write("learnt")
    bench.worker.fail(handle, "The annotation cannot be read.", error)
    assert bench.control.state == "idle"
    ((level, told),) = bench.messages
    assert level == "error"
    assert told.startswith("The annotation cannot be read. Press Train to go on")
    assert str(bench.control.plan.checkpoint) == handle.job.checkpoint
    with open(handle.job.checkpoint) as file:
        assert file.read() == "learnt"
    assert bench.start().job.resume


def test_a_project_that_cannot_be_saved_is_told_and_nothing_begins(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError("project.json: cannot be written, the disk is full.")

    bench.paint_both()
    monkeypatch.setattr(bench.store, "flush", full)
    bench.control.start()
    bench.pump.until(lambda: bench.messages)
    assert bench.messages == [
        ("error", "project.json: cannot be written, the disk is full.")
    ]
    assert bench.control.state == "idle"
    assert not bench.worker.handles


def start_from_a_run(bench: Bench) -> Path:
    """Have the next training start from the model of one that ended."""
    bench.paint_both()
    handle = bench.start()
    bench.worker.emit(handle, saved_as(handle))
    bench.worker.end(handle)
    bench.control.plan.set(start=handle.job.output)
    return Path(handle.job.output)


def test_an_interrupted_run_goes_on_from_a_start_that_was_renamed(
    bench: Bench,
) -> None:
    before = start_from_a_run(bench)
    assert interrupted(bench).job.start == str(before)
    runs = RunList(bench.store)
    runs.changed.connect(bench.control.on_runs_renamed)
    runs.refresh()
    (run,) = runs.entries
    renamed = runs.rename(run, "figure 2")
    again = bench.start().job
    assert (again.resume, again.start) == (True, str(renamed))


def test_an_interrupted_run_goes_on_without_a_start_that_was_deleted(
    bench: Bench,
) -> None:
    before = start_from_a_run(bench)
    interrupted(bench)
    before.unlink()
    again = bench.start().job
    assert (again.resume, again.start) == (True, None)
    ((level, told),) = bench.messages
    assert level == "warning"
    assert told.startswith(f"{before.name}, which this training started from, is gone")


def test_a_damaged_record_of_a_run_is_told(bench: Bench) -> None:
    (bench.store.run_folder).mkdir(exist_ok=True)
    (bench.store.run_folder / "run.json").write_text('{"name": 3}')
    bench.reopen()
    bench.control.tick()
    bench.control.tick()
    ((level, told),) = bench.messages
    assert level == "warning"
    assert "run.json" in told


def test_an_interrupted_run_is_offered_when_the_project_is_opened(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    open(handle.job.checkpoint, "w").close()
    bench.reopen()
    assert str(bench.control.plan.checkpoint) == handle.job.checkpoint
    assert bench.control.plan.interrupted is not None
    assert bench.start().job.resume
    bench.control.stop()
    bench.worker.end(bench.submitted(), cancelled=True)
    bench.control.forget_interrupted()
    assert bench.control.plan.checkpoint is None
    assert RunRecord.read(bench.store.run_folder) is None
    assert not bench.start().job.resume


def test_the_last_run_is_what_the_next_starts_from(bench: Bench) -> None:
    bench.paint_both()
    bench.control.plan.set(start="last")
    assert bench.control.can_start == (
        False,
        "There is no last run to start from: choose scratch or a model.",
    )
    bench.control.plan.set(start=None)
    handle = bench.start()
    bench.begin(handle)
    bench.worker.emit(handle, saved_as(handle))
    bench.worker.end(handle)
    bench.control.plan.set(start="last")
    assert bench.start().job.start == handle.job.output


def test_a_model_to_start_from_must_fit(bench: Bench, tmp_path: Path) -> None:
    bench.paint_both()
    bench.control.plan.set(start=str(tmp_path / "gone.safetensors"))
    assert "there is no model file" in bench.control.can_start[1]


def test_strokes_during_a_run_reach_it(stack: Bench) -> None:
    stack.paint(2, 10, 10, 1)
    stack.paint(1, 30, 30, 1)
    handle = stack.start()
    stack.begin(handle)
    stack.paint(3, 20, 40, 2)
    stack.pump.until(lambda: stack.control.tick() or stack.worker.corrections(handle))
    (one,) = stack.worker.corrections(handle)
    assert (one.image, one.t, one.z) == (0, 0, 2)
    assert one.box == (slice(20, 28), slice(40, 48))
    assert one.annotation.labels.open()[2, 22, 42] == 3


def test_strokes_during_a_pause_are_one_correction_after_it(
    stack: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = count(step=10)
    monkeypatch.setattr(throttle, "monotonic", lambda: next(now))
    stack.paint(2, 10, 10, 1)
    stack.paint(1, 30, 30, 1)
    handle = stack.start()
    stack.begin(handle)
    stack.control.pause()
    for y in (20, 40):
        stack.paint(3, y, 40, 1)
        stack.control.tick()
    assert stack.worker.corrections(handle) == []
    stack.control.resume()
    stack.pump.until(lambda: stack.control.tick() or stack.worker.corrections(handle))
    (one,) = stack.worker.corrections(handle)
    assert one.box == (slice(20, 48), slice(40, 48))


def test_a_slice_marked_finished_during_a_run_reaches_it(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    bench.annotating.finishing.finish_slice()
    bench.pump.until(lambda: bench.control.tick() or bench.worker.corrections(handle))
    (one,) = bench.worker.corrections(handle)
    assert one.box is None
    assert len(one.annotation.finished) == 1


def test_an_imported_mask_reaches_the_run_in_all_planes(stack: Bench) -> None:
    stack.paint(2, 10, 10, 1)
    stack.paint(1, 30, 30, 1)
    handle = stack.start()
    stack.begin(handle)
    plane = np.zeros((60, 70), np.int32)
    plane[5:9] = 4
    stack.store.replace_annotation(stack.image.id, {(0, 3): plane}, "import masks")
    stack.pump.until(
        lambda: stack.control.tick() or len(stack.worker.corrections(handle)) > 1
    )
    assert {(c.z, c.box) for c in stack.worker.corrections(handle)} == {
        (1, None),
        (3, None),
    }


def test_a_new_class_waits_for_the_next_training(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    bench.annotating.classes.add("debris")
    assert [level for level, _ in bench.messages] == ["info"]
    assert "from the next training on" in bench.messages[0][1]
    bench.paint(2, 40, 10)
    bench.pump.until(lambda: bench.control.tick() or bench.worker.corrections(handle))


def test_nothing_is_corrected_after_the_kind_of_a_class_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = count(step=10)
    monkeypatch.setattr(throttle, "monotonic", lambda: next(now))
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    bench.annotating.classes.set_kind(1, "regions")
    assert "The classes changed" in bench.messages[0][1]
    bench.paint(2, 40, 10)
    for _ in range(5):
        bench.control.tick()
    assert bench.worker.corrections(handle) == []


def interrupted(bench: Bench) -> Handle:
    """Interrupt the training of the image in view."""
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    open(handle.job.checkpoint, "w").close()
    bench.worker.end(handle, cancelled=True)
    return handle


def another_image(bench: Bench) -> str:
    """Annotate one more image; return the id of the one before."""
    before = bench.image.id
    layer = bench.viewer.add_image(np.full((60, 70), 7, np.uint8), name="other")
    bench.image = bench.images.add([layer])
    bench.paint_both()
    return before


def untick(bench: Bench, image_id: str) -> None:
    bench.images.set_use_for_training(image_id, False)


def close_image(bench: Bench, image_id: str) -> None:
    for layer in bench.images.layers(image_id):
        bench.viewer.layers.remove(layer)


def leave(bench: Bench, image_id: str) -> None:
    """Train on both."""


@pytest.mark.parametrize("put_away", [untick, close_image, leave])
def test_an_interrupted_run_leaves_train_to_other_images(
    bench: Bench, put_away: Callable[[Bench, str], None]
) -> None:
    first = interrupted(bench)
    assert bench.control.plan.goes_on
    bench.control.plan.set(training=TINY.replace(patch=24))
    assert bench.control.plan.next_settings == TINY
    before = another_image(bench)
    put_away(bench, before)
    assert not bench.control.plan.goes_on
    assert bench.control.plan.next_settings.patch == 24
    second = bench.start()
    assert len(second.job.images) == (2 if put_away is leave else 1)
    assert (second.job.resume, second.job.settings.patch) == (False, 24)
    bench.worker.emit(second, saved_as(second))
    bench.worker.end(second)
    # nothing is lost: what was interrupted can go on
    bench.images.set_use_for_training(before, True)
    if put_away is close_image:
        bench.viewer.add_image(bench.layer.data, name="again")
    bench.images.set_use_for_training(bench.image.id, False)
    assert bench.control.plan.goes_on
    third = bench.start().job
    assert (third.resume, third.checkpoint) == (True, first.job.checkpoint)
    assert third.settings == TINY


def test_people_may_go_on_with_an_interrupted_run_whatever_is_ticked(
    bench: Bench,
) -> None:
    first = interrupted(bench)
    before = another_image(bench)
    bench.control.go_on()
    second = bench.submitted().job
    assert (second.resume, second.checkpoint) == (True, first.job.checkpoint)
    bench.worker.end(bench.submitted(), cancelled=True)
    close_image(bench, before)
    bench.control.go_on()
    assert bench.control.state == "idle"
    assert "nuclei again" in bench.messages[-1][1]


def test_of_two_interrupted_runs_the_last_is_offered_first(bench: Bench) -> None:
    first = interrupted(bench)
    untick(bench, another_image(bench))
    second = interrupted(bench)
    assert str(bench.control.plan.checkpoint) == second.job.checkpoint
    bench.control.forget_interrupted()
    assert str(bench.control.plan.checkpoint) == first.job.checkpoint
    assert not Path(second.job.checkpoint).exists()
    bench.control.forget_interrupted()
    assert bench.control.plan.checkpoint is None
    assert [p.name for p in bench.store.run_folder.iterdir()] == []


def test_an_interrupted_run_does_not_go_on_with_other_classes(bench: Bench) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle)
    open(handle.job.checkpoint, "w").close()
    bench.worker.end(handle, cancelled=True)
    bench.annotating.classes.add("debris")
    possible, why = bench.control.can_start
    assert not possible
    assert "The classes changed" in why


def test_previews_are_made_with_the_weights_in_training(bench: Bench) -> None:
    bench.paint_both()
    bench.begin(bench.start(), steps=25)
    bench.pump.until(
        lambda: [j for j in bench.worker.handles if isinstance(j.job, PredictJob)]
    )


@pytest.mark.parametrize("stopped", [False, True])
def test_no_time_is_told_while_the_model_is_judged(bench: Bench, stopped: bool) -> None:
    bench.paint_both()
    handle = bench.start()
    bench.begin(handle, steps=3)
    assert bench.control.progress.seconds_left == 27.0
    assert not bench.control.progress.judging
    if stopped:
        bench.control.stop()
    told: list[bool] = []
    bench.control.changed.connect(lambda: told.append(bench.control.progress.judging))
    bench.worker.emit(handle, events.Judging(3))
    assert told[-1]
    assert (bench.control.progress.seconds_left, bench.control.progress.share) == (
        None,
        1.0,
    )
    bench.worker.emit(handle, saved_as(handle))
    bench.worker.end(handle)
    assert bench.control.state == "idle"
    # the next one begins anew
    bench.begin(bench.start())
    assert not bench.control.progress.judging
