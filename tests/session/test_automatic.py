"""A training whose settings are planned: when that is asked for, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from example_models import cropping_model
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.jobs import PlanJob, TrainJob
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.opaque import FILE, Opaque
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.worker import plan_job
from napari_unet.io.model_file import save_model
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Pump
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Handle


class Bench(SessionBench):
    """A stack with annotation in all of its slices."""

    def __init__(self, folder: Path, pump: Pump) -> None:
        super().__init__(folder, pump.post)
        self.pump = pump
        pixels = np.zeros((12, 64, 80), np.uint8)
        self.image = self.add(pixels, axes="zyx", scale=(0.2,) * 3, units=("um",) * 3)
        layer = self.annotating.layers.show(self.image.id)
        painted = np.ones_like(layer.data)
        painted[:, 10:20, 10:20], painted[:, 40:50, 40:50] = 2, 3
        layer.data = painted
        self.annotating.object_index.update_all(60)

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.messages: list[str] = []
        self.control = self.make_training()
        self.control.message.connect(lambda _, text: self.messages.append(text))
        self.plan = self.control.plan

    def automatic(self, **by_hand: Any) -> None:
        self.plan.set(training=Training.automatic(**by_hand))

    def paint(self) -> None:
        layer = self.images.annotation_layer(self.image.id)
        assert layer is not None
        layer.data_setitem((np.array([3]), np.array([30]), np.array([30])), 2)

    def do(self, handle: Handle) -> None:
        """Let the worker plan."""
        context: Any = None
        found = [e for e in plan_job.run(handle.job, context) if e is not None]
        self.worker.emit(handle, *found)
        self.worker.end(handle)

    def trained(self) -> TrainJob:
        """The job of the run, once its pixels are copied."""
        self.pump.until(lambda: self.worker.jobs(TrainJob))
        (job,) = self.worker.jobs(TrainJob)
        return job  # type: ignore[no-any-return]

    def close(self) -> None:
        self.control.close()
        super().close()


@pytest.fixture
def bench(tmp_path: Path, pump: Pump) -> Iterator[Bench]:
    bench = Bench(tmp_path, pump)
    yield bench
    bench.close()


def test_train_waits_for_the_plan_and_learns_as_planned(bench: Bench) -> None:
    # an hour is enough for volumes
    bench.automatic(minutes=60.0)
    bench.control.start()
    assert bench.control.state == "starting"
    (handle,) = bench.worker.running(PlanJob)
    assert not bench.worker.jobs(TrainJob)
    bench.do(handle)
    job = bench.trained()
    assert job.settings == bench.plan.new_record().settings
    assert [d.field for d in job.settings.decisions][:2] == ["ndim", "width"]
    assert (job.settings.ndim, job.places) == (3, (((0, None),),))
    # what is asked for stays in the project: the next training is planned anew
    assert bench.plan.settings == Training.automatic(minutes=60.0)


def test_a_training_whose_image_is_left_out_while_it_is_planned_does_not_begin(
    bench: Bench,
) -> None:
    bench.automatic()
    bench.control.start()
    (handle,) = bench.worker.running(PlanJob)
    bench.images.set_use_for_training(bench.image.id, False)
    bench.do(handle)
    assert bench.control.state == "idle"
    assert "tick" in bench.messages[-1].lower()
    assert bench.control.can_start == (False, bench.messages[-1])


def test_a_plan_that_was_looked_at_is_used_unless_something_was_painted(
    bench: Bench,
) -> None:
    bench.automatic()
    assert bench.plan.needs_planning
    bench.plan.ask_for_plan()
    bench.plan.ask_for_plan()
    (handle,) = bench.worker.running(PlanJob)
    assert bench.plan.next_settings == Training.automatic()
    bench.do(handle)
    planned = bench.plan.next_settings
    # 100 pixels are a circle of 11; the image has 64 rows
    assert (planned.ndim, planned.depth, planned.patch) == (2, 3, 64)
    assert not bench.plan.needs_planning
    bench.paint()
    assert bench.plan.needs_planning
    assert bench.plan.next_settings == planned
    bench.control.start()
    (again,) = bench.worker.running(PlanJob)
    bench.do(again)
    assert bench.trained().settings.decisions[-1].reason.startswith("5 % of the 61440")


def test_without_a_change_train_begins_at_once(bench: Bench) -> None:
    bench.automatic()
    bench.plan.ask_for_plan()
    bench.do(bench.worker.last)
    bench.control.start()
    assert bench.trained().settings == bench.plan.next_settings
    assert len(bench.worker.jobs(PlanJob)) == 1


def test_another_budget_or_class_is_another_plan(bench: Bench) -> None:
    bench.automatic()
    bench.plan.ask_for_plan()
    bench.do(bench.worker.last)
    bench.automatic(minutes=20.0)
    assert bench.plan.needs_planning
    assert bench.plan.next_settings == Training.automatic(minutes=20.0)
    bench.automatic()
    assert not bench.plan.needs_planning
    bench.annotating.classes.add("tissue", "regions")
    assert bench.plan.needs_planning


def test_what_is_being_planned_is_stopped(bench: Bench) -> None:
    bench.automatic()
    bench.control.start()
    (handle,) = bench.worker.running(PlanJob)
    bench.control.stop()
    assert bench.control.state == "idle"
    assert bench.worker.asked(handle) == ["Cancel"]
    bench.do(handle)
    assert not bench.worker.jobs(TrainJob)
    assert bench.plan.needs_planning
    bench.control.start()
    assert len(bench.worker.jobs(PlanJob)) == 2


def test_a_plan_that_fails_says_why_and_the_next_is_tried(bench: Bench) -> None:
    bench.automatic()
    bench.control.start()
    bench.worker.fail(bench.worker.last, "The labels are damaged.")
    assert bench.control.state == "idle"
    assert bench.messages == ["The labels are damaged."]
    bench.control.start()
    bench.do(bench.worker.last)
    assert bench.trained()


def test_of_a_model_to_start_from_the_network_stays(
    bench: Bench, tmp_path: Path
) -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=5, depth=1)
    recipe = Training(ndim=3, width=5, depth=1)
    card = ModelCard(architecture=table, classes=(), training=recipe)
    file = tmp_path / "old.safetensors"
    save_model(Model(card, {"w": np.zeros(1, np.float32)}), file)
    bench.automatic()
    bench.plan.set_start(str(file))
    assert not bench.plan.problem(None)
    bench.control.start()
    bench.do(bench.worker.last)
    job = bench.trained()
    assert (job.settings.ndim, job.settings.width, job.settings.depth) == (3, 5, 1)
    assert job.places == (((0, None),),)
    assert [d.field for d in job.settings.decisions] == ["patch", "batch"]


def test_nothing_is_planned_where_nothing_can_be_trained(bench: Bench) -> None:
    bench.automatic()
    bench.images.set_use_for_training(bench.image.id, False)
    bench.plan.ask_for_plan()
    bench.control.start()
    assert not bench.worker.handles
    bench.images.set_use_for_training(bench.image.id, True)
    bench.plan.set(training=Training.quick())
    bench.plan.ask_for_plan()
    assert not bench.worker.handles


def test_smaller_patches_after_memory_ran_out_are_no_decision(bench: Bench) -> None:
    bench.automatic()
    bench.plan.ask_for_plan()
    bench.do(bench.worker.last)
    record = bench.plan.new_record()
    smaller = record.smaller().settings
    assert (smaller.patch, record.settings.patch) == (32, 64)
    assert "patch" not in {d.field for d in smaller.decisions}
    assert smaller.by_hand == ("patch",)


def test_a_mean_of_networks_is_no_model_to_start_from(
    bench: Bench, tmp_path: Path
) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=5, depth=1)
    card = ModelCard(architecture=table, classes=(), training=Training(), members=3)
    file = tmp_path / "three.safetensors"
    save_model(Model(card, {"0/w": np.zeros(1, np.float32)}), file)
    bench.plan.set_start(str(file))
    assert bench.plan.problem(None) == (
        "The model to start from is the mean of 3 networks, and training goes on from "
        "one: start from another model, or from scratch."
    )


def test_a_network_that_runs_as_it_is_is_none_to_start_from(
    bench: Bench, tmp_path: Path
) -> None:
    sizes = {"smallest": (8, 8), "growth": (4, 4), "lost": (0, 0), "border": (2, 2)}
    table = Opaque.in_windows(runtime="onnx", **sizes)
    file = tmp_path / "foreign.safetensors"
    card = ModelCard(
        architecture=table, classes=(ClassInfo(name="a"),), training=Training()
    )
    save_model(Model(card, {FILE: np.zeros(1, np.uint8)}), file)
    bench.plan.set_start(str(file))
    for settings in (Training(), Training.automatic()):
        bench.plan.set(training=settings)
        assert bench.plan.problem(None) == (
            "The model to start from is a network in ONNX, which runs as it is, and "
            "cannot be trained on: start from another model, or from scratch."
        )


def test_a_model_that_makes_images_is_none_to_start_from(
    bench: Bench, tmp_path: Path
) -> None:
    save_model(cropping_model(image=True), tmp_path / "clean.safetensors")
    bench.plan.set_start(str(tmp_path / "clean.safetensors"))
    bench.plan.set(training=Training.automatic())
    assert bench.plan.problem(None) == (
        "The model to start from has learnt to denoise, the training is to segment."
    )
    bench.plan.ask_for_plan()
    assert not bench.worker.jobs(PlanJob)
