from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from example_models import cropping_model
from napari_unet.core.events import ModelSaved, StepDone
from napari_unet.core.jobs import PredictJob, SaveImageJob, TrainJob
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.worker import export_job, prediction_job
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.io.images import read_image
from napari_unet.io.model_file import load_model, save_model
from napari_unet.session.models import ModelList, describe
from napari_unet.session.prediction.denoising import Denoiser
from napari_unet.session.prediction.targets import Targets
from napari_unet.session.preferences import Preferences
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.session.project.store import ProjectStore


class Bench(SessionBench):
    """A denoiser with everything around it."""

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.models = ModelList(store, Preferences())
        targets = Targets(self.session, self.models)
        self.control = Denoiser(self.session, self.models, targets)
        self.told: list[tuple[str, str]] = []
        self.control.message.connect(lambda *words: self.told.append(words))

    def learnt(self, problem: str | None = None, channels: int = 1) -> None:
        """The training ends with a model."""
        handle = self.worker.last
        save_model(cropping_model(channels, image=True), handle.job.output)  # type: ignore[attr-defined]
        card = load_model(handle.job.output).card  # type: ignore[attr-defined]
        saved = ModelSaved(handle.job.output, card, 40, 1.0, problem)  # type: ignore[attr-defined]
        self.worker.emit(handle, StepDone(40, 0.5, 1.0, 0.0), saved)
        self.worker.end(handle)

    def predicted(self) -> None:
        """The worker does what is asked for."""
        handle = self.worker.last
        context = Context(None, ModelCache())  # type: ignore[arg-type]
        self.worker.emit(handle, *prediction_job.run(handle.job, context))  # type: ignore[arg-type]
        self.worker.end(handle)

    def close(self) -> None:
        self.control.close()
        super().close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, lambda call: call())
    yield bench
    bench.close()


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def test_a_layer_is_made_of_the_image_in_view(bench: Bench) -> None:
    noisy = 100 * pixels(3, 40, 50)
    bench.viewer.add_image(noisy, name="noisy", scale=(2, 0.5, 0.5))
    assert bench.control.denoise(0.5, "x")
    (job,) = bench.worker.jobs(TrainJob)
    assert job.annotations == ()
    assert job.places == (((0, 0), (0, 1), (0, 2)),)
    assert (job.settings.task, job.settings.minutes) == ("denoise", 0.5)
    assert job.settings.structured_noise == "x"
    assert bench.control.running
    bench.learnt()
    (job,) = bench.worker.jobs(PredictJob)
    assert job.settings.averaging == "dihedral"
    bench.predicted()
    assert not bench.control.running
    assert bench.told == []
    # whatever is faster here: the values are read by people
    assert bench.control.status.endswith("fp32.")
    source, made = bench.viewer.layers
    assert made.name == "Denoised · noisy"
    np.testing.assert_allclose(made.data, noisy, atol=1)
    assert (made.scale == source.scale).all()
    # it may be annotated, trained on and predicted like any image
    assert bench.images.candidates() == [made]


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr"])
def test_what_was_made_of_the_image_in_view_is_saved(bench: Bench, name: str) -> None:
    scale = (2, 0.5, 0.5)
    noisy = bench.viewer.add_image(pixels(3, 40, 50), scale=scale, units="um")
    file = bench.scratch / name
    bench.control.save(file)
    assert "Nothing is made of this image" in bench.told.pop()[1]
    bench.control.denoise(0.5)
    bench.learnt()
    bench.predicted()
    assert bench.control.name_made() == f"{noisy.name} denoised"
    made = bench.viewer.layers[-1].data
    bench.viewer.layers.clear()  # it need not be shown
    bench.control.save(file)
    handle = bench.worker.last
    assert isinstance(handle.job, SaveImageJob)
    bench.worker.emit(handle, *export_job.save_image(handle.job))
    bench.worker.end(handle)
    assert bench.told.pop() == ("info", f"The image is in {file} now.")
    saved = read_image(file)
    np.testing.assert_array_equal(saved.read(), made)
    assert (saved.axes, saved.spacing_um) == ("zyx", scale)


def test_settings_of_the_project_are_not_those_of_denoising(bench: Bench) -> None:
    asked = Training.automatic(width=2)
    bench.store.update(bench.store.project.replace(training=asked))
    bench.viewer.add_image(pixels(40, 50))
    assert bench.control.denoise(0.5)
    (job,) = bench.worker.jobs(TrainJob)
    assert job.settings == Training.quick().with_task("denoise").replace(minutes=0.5)


def test_all_planes_of_a_long_stack_are_not_learnt_from(bench: Bench) -> None:
    bench.viewer.add_image(pixels(50, 30, 30))
    bench.control.denoise(1)
    (job,) = bench.worker.jobs(TrainJob)
    (places,) = job.places
    assert len(places) == 16
    assert (places[0], places[-1]) == ((0, 0), (0, 49))


def test_a_model_that_makes_images_is_offered_for_that_alone(bench: Bench) -> None:
    bench.viewer.add_image(pixels(40, 40), name="a")
    bench.control.denoise(1)
    bench.learnt()
    bench.predicted()
    assert bench.models.entries == ()
    (maker,) = bench.models.makers
    assert dict(describe(maker.card))["Network"].startswith("2-D")
    with pytest.raises(ValueError, match="it makes an image; choose it under Denoise"):
        bench.models.select(maker.path)
    assert bench.control.make(maker)
    bench.predicted()
    assert len(bench.viewer.layers) == 3
    assert len(bench.worker.jobs(TrainJob)) == 1


def test_the_model_of_cells_that_was_used_last_is_not_forgotten(
    bench: Bench,
) -> None:
    path = bench.store.run_folder / "cells.safetensors"
    save_model(cropping_model(2), path)
    bench.models.refresh()
    bench.models.select(path)
    bench.models.note_use()
    bench.viewer.add_image(pixels(40, 40), name="a")
    bench.control.denoise(1)
    bench.learnt()
    assert bench.models.used_last == path


def test_channels_become_layers(bench: Bench) -> None:
    image = bench.add(pixels(2, 40, 40), axes="cyx")
    assert image.channels == 2
    bench.control.denoise(1)
    bench.learnt(channels=2)
    bench.predicted()
    names = [layer.name for layer in bench.viewer.layers]
    assert names[-2:] == [f"Denoised {n} · {image.name}" for n in (1, 2)]
    made = np.stack([layer.data for layer in list(bench.viewer.layers)[-2:]])
    np.testing.assert_allclose(made, pixels(2, 40, 40), atol=0.01)


def test_to_stop_is_to_go_on_with_what_is_learnt(bench: Bench) -> None:
    bench.viewer.add_image(pixels(40, 40))
    bench.control.denoise(1)
    handle = bench.worker.last
    bench.control.finish()
    assert bench.worker.asked(handle) == ["Cancel"]
    checkpoint = Path(handle.job.checkpoint)  # type: ignore[attr-defined]
    checkpoint.write_bytes(b"of the first steps")
    bench.worker.end(handle, cancelled=True)
    assert not bench.control.running
    assert not checkpoint.exists()
    bench.control.denoise(1)
    handle = bench.worker.last
    bench.worker.emit(handle, StepDone(5, 0.5, 0.2, 9.0))
    bench.control.finish()
    assert bench.worker.asked(handle) == ["Finish"]
    bench.learnt("so few steps")
    bench.predicted()
    assert bench.told == [("warning", "so few steps")]
    assert len(bench.viewer.layers) == 2


def test_what_cannot_be_is_one_sentence(bench: Bench) -> None:
    assert not bench.control.denoise(1)
    assert bench.told == [("error", "Open an image first.")]
    bench.told.clear()
    layer: Any = bench.viewer.add_image(pixels(40, 40), name="a")
    assert bench.control.denoise(1)
    assert not bench.control.denoise(1)
    assert bench.told == [("error", "An image is being made: stop that first.")]
    bench.told.clear()
    bench.worker.fail(bench.worker.last, "the computer is on fire.")
    assert bench.told == [("error", "the computer is on fire.")]
    assert not bench.control.running
    bench.control.denoise(1)
    bench.viewer.layers.remove(layer)
    bench.told.clear()
    bench.learnt()
    ((level, sentence),) = bench.told
    assert level == "error"
    assert "a" in sentence
    assert not bench.control.running
