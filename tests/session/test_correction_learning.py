from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from example_models import random_model
from napari_unet.core.events import CorrectionsLearnt
from napari_unet.core.jobs import LearnJob, PredictJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.io.model_file import save_model
from napari_unet.session.learning.control import CorrectionLearning
from napari_unet.session.models import ModelList
from napari_unet.session.preferences import Preferences
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.session.project.store import ProjectStore


class Bench(SessionBench):
    """Predicted slices, someone who paints on them, and a worker that is led."""

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        preferences = Preferences(device="cpu", learn_corrections=True)
        self.original = store.run_folder / "cells.safetensors"
        table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
        save_model(random_model(table), self.original)
        self.models = ModelList(store, preferences)
        self.models.select(self.original)
        self.prediction = self.make_prediction(self.models, preferences)
        self.training = self.make_training(preferences)
        self.learning = CorrectionLearning(
            self.session, self.models, self.prediction, self.training
        )
        self.told: list[tuple[str, str]] = []
        self.learning.message.connect(lambda *words: self.told.append(words))

    @property
    def copy(self) -> Path:
        return self.original.with_name("cells + corrections.safetensors")

    @property
    def image_id(self) -> str:
        image = self.images.current
        assert image is not None
        return image.id

    def corrections(self) -> list[LearnJob]:
        """The jobs that learn something, and do not only get ready."""
        return [job for job in self.worker.jobs(LearnJob) if job.corrections]

    def predict(self, extent: Any = "layer") -> None:
        assert self.prediction.predict(extent)
        (handle,) = self.worker.running(PredictJob)
        self.worker.predict(handle)
        self.worker.end(handle)
        self.worker.find_all_cells()

    def paint(self, z: int = 0, value: int = 2) -> None:
        layer = self.annotating.layers.show(self.image_id)
        layer.data_setitem((np.array([z]), np.array([3]), np.array([4])), value)

    def tick(self, clock: list[float], seconds: float = 2.0) -> None:
        clock[0] += seconds
        self.annotating.tick()
        self.learning.tick()

    def learn(self, count: int) -> None:
        """The worker has learnt: a model with some corrections is in its file."""
        (handle,) = [
            h
            for h in self.worker.running(LearnJob)
            if h.job.corrections  # type: ignore[attr-defined]
        ]
        table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
        if count:
            save_model(random_model(table), self.copy)
        else:
            self.copy.unlink(missing_ok=True)
        learnt = CorrectionsLearnt(str(self.copy), count, 5)
        self.worker.emit(handle, learnt)
        self.worker.end(handle)

    def get_ready(self) -> None:
        for handle in self.worker.running(LearnJob):
            if not handle.job.corrections:  # type: ignore[attr-defined]
                self.worker.end(handle)

    def close(self) -> None:
        self.learning.close()
        self.training.close()
        self.prediction.close()
        super().close()


@pytest.fixture
def bench(tmp_path: Path, clock: list[float]) -> Iterator[Bench]:
    bench = Bench(tmp_path, lambda call: call())
    bench.add(np.ones((4, 8, 10), np.uint8))
    bench.viewer.dims.set_current_step(0, 0)
    yield bench
    bench.close()


def test_a_stroke_on_a_predicted_slice_is_learnt_when_the_hand_rests(
    bench: Bench, clock: list[float]
) -> None:
    bench.predict()
    bench.tick(clock)
    bench.get_ready()
    bench.paint()
    assert not bench.corrections()
    bench.tick(clock)
    (job,) = bench.corrections()
    assert (job.model, job.output) == (str(bench.original), str(bench.copy))
    (correction,) = job.corrections
    assert (correction.t, correction.z) == (0, 0)
    assert correction.box == (slice(3, 4), slice(4, 5))
    assert "Learning" in bench.learning.status


def test_the_copy_takes_the_place_of_the_model_and_what_is_in_view_is_renewed(
    bench: Bench, clock: list[float]
) -> None:
    bench.predict()
    before = bench.original.read_bytes()
    results = bench.prediction.results[bench.image_id]
    layers = results.layers()
    bench.paint()
    bench.tick(clock)
    bench.get_ready()
    bench.tick(clock)
    bench.learn(1)
    assert bench.models.selected == bench.copy
    assert bench.original.read_bytes() == before
    assert bench.prediction.results[bench.image_id] is results
    assert results.layers() == layers
    (renewal,) = bench.worker.running(PredictJob)
    assert renewal.job.model == str(bench.copy)  # type: ignore[attr-defined]
    assert renewal.job.places == ((0, 0),)  # type: ignore[attr-defined]
    assert len(results.older()) == 4
    bench.worker.predict(renewal)
    bench.worker.end(renewal)
    bench.worker.find_all_cells()
    assert sorted(results.older()) == [(0, 1), (0, 2), (0, 3)]
    assert "3 other slices are from before" in bench.learning.status
    (sentence,) = [s for _, s in bench.told if "stays as it is" in s]
    assert "cells + corrections" in sentence


def test_other_slices_are_renewed_when_they_are_seen(
    bench: Bench, clock: list[float]
) -> None:
    bench.predict()
    bench.paint()
    bench.tick(clock)
    bench.get_ready()
    bench.tick(clock)
    bench.learn(1)
    (renewal,) = bench.worker.running(PredictJob)
    bench.worker.predict(renewal)
    bench.worker.end(renewal)
    bench.viewer.dims.set_current_step(0, 2)
    bench.tick(clock)
    (renewal,) = bench.worker.running(PredictJob)
    assert renewal.job.places == ((0, 2),)  # type: ignore[attr-defined]


def test_undone_to_the_first_the_model_itself_is_in_use_again(
    bench: Bench, clock: list[float]
) -> None:
    bench.predict()
    bench.paint()
    bench.tick(clock)
    bench.get_ready()
    bench.tick(clock)
    bench.learn(1)
    layer = bench.annotating.layers.show(bench.image_id)
    layer.undo()
    bench.tick(clock)
    job = bench.corrections()[-1]
    assert (job.model, job.output) == (str(bench.copy), str(bench.copy))
    bench.learn(0)
    assert bench.models.selected == bench.original
    assert bench.prediction.results[bench.image_id].run == str(bench.original)
    assert bench.learning.status == ""


@pytest.mark.parametrize("why", ["off", "not predicted", "training"])
def test_what_is_no_correction_is_not_learnt(
    bench: Bench, clock: list[float], why: str
) -> None:
    if why != "not predicted":
        bench.predict()
    if why == "off":
        bench.session.preferences = Preferences(device="cpu", learn_corrections=False)
        bench.learning.switched()
    elif why == "training":
        bench.training.state = "training"
    bench.paint()
    bench.tick(clock)
    bench.tick(clock)
    assert not bench.corrections()


def test_a_copy_of_an_earlier_session_is_not_written_over(
    bench: Bench, clock: list[float]
) -> None:
    bench.copy.write_bytes(b"of yesterday")
    bench.predict()
    bench.paint()
    bench.tick(clock)
    bench.get_ready()
    bench.tick(clock)
    (job,) = bench.corrections()
    assert job.output.endswith("cells + corrections 2.safetensors")


def test_why_it_was_not_learnt_is_said_and_not_of_each_stroke(
    bench: Bench, clock: list[float]
) -> None:
    bench.predict()
    bench.paint()
    bench.tick(clock)
    bench.get_ready()
    bench.tick(clock)
    handle = bench.worker.running(LearnJob)[-1]
    bench.worker.fail(handle, "its pixels have another shape.")
    assert "another shape" in bench.told[-1][1]
    assert "another shape" in bench.learning.problem
    bench.paint(value=3)
    bench.tick(clock)
    assert len(bench.corrections()) == 1
