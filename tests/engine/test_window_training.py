"""Training of networks that see windows of one fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from engine.test_training import IMAGE, LABELS, SMALL, discs, equal, finished, run
from example_models import random_model
from napari_unet.cli.info import summary
from napari_unet.core import events
from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.images.image import Image
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.training import memory
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.training.sampling import Sampler
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.network.architecture import Architecture
    from napari_unet.core.network.layers import Norm
    from napari_unet.engine.training.sampling import Batch

WIDE = u_shape(ndim=2, channels=1, classes=2, width=8, depth=2, norm="batch")
PLAIN = u_shape(ndim=2, channels=1, classes=2, width=4, depth=2, norm="batch")
PADDED = PLAIN.replace(padded=True, window=(32, 32))
STATISTICS = PLAIN.replace(norm="instance")


def trained(table: Architecture, settings: Any = SMALL, **options: Any) -> Any:
    return run(settings, start=random_model(table), **options)


def batches(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    found, draw = [], Sampler.draw

    def watched(self: Sampler, step: int, size: int) -> Batch:
        found.append(draw(self, step, size))
        return found[-1]

    monkeypatch.setattr(Sampler, "draw", watched)
    return found


def test_a_padded_network_learns_from_its_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = batches(monkeypatch)
    model = finished(trained(PADDED)).model
    assert model.card.architecture == PADDED
    assert {tuple(b.image.shape) for b in drawn} == {(2, 1, 32, 32)}
    assert {tuple(b.classes.shape) for b in drawn} == {(2, 32, 32)}


def test_statistics_over_the_window_are_those_of_the_patches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = batches(monkeypatch)
    model = finished(trained(STATISTICS)).model
    assert STATISTICS.window is None
    table = model.card.architecture
    assert table.window == (36, 36)
    seen = table.input_size((36, 36))
    assert {tuple(b.image.shape[2:]) for b in drawn} == {seen}
    # further trainings keep it, whatever their patches
    again = run(SMALL.replace(patch=60), start=model)
    assert finished(again).model.card.architecture.window == (36, 36)


def test_the_window_is_in_the_file(tmp_path: Path) -> None:
    model = finished(trained(PADDED)).model
    path = tmp_path / "a.safetensors"
    save_model(model, path)
    read = load_model(path)
    assert read.card.architecture.window == (32, 32)
    settings = Prediction(device="cpu", precision="fp32")
    found = [list(predict(m, IMAGE, settings=settings))[-1] for m in (model, read)]
    np.testing.assert_array_equal(found[0].probabilities, found[1].probabilities)  # type: ignore[attr-defined]


@pytest.mark.parametrize("table", [PADDED, STATISTICS], ids=["padded", "statistics"])
def test_such_a_network_learns_and_is_judged_by_its_windows(
    table: Architecture,
) -> None:
    settings = SMALL.replace(steps=100, batch=4, validation=0.2)
    job = trained(table.replace(levels=WIDE.levels), settings)
    scores = [e.score for e in job if isinstance(e, events.ValidationDone)]
    assert len(scores) > 3
    model = finished(job).model
    assert finished(job).problem is None
    test_image, test_labels = discs(seed=1)
    *_, last = predict(model, test_image, settings=Prediction(device="cpu"))
    found = last.probabilities[1] > 0.5  # type: ignore[attr-defined]
    truth = test_labels > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.7


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    settings, start = SMALL.replace(validation=0.2), random_model(STATISTICS)
    whole = finished(run(settings, start=start)).model
    path = tmp_path / "run.checkpoint.safetensors"
    job = train(
        [IMAGE],
        [LABELS],
        settings,
        kind="instances",
        start=start,
        checkpoint=path,
        device="cpu",
    )
    for event in job:
        if isinstance(event, events.StepDone) and event.step == 5:
            break
    job.close()  # type: ignore[attr-defined]
    resumed = finished(run(settings, start=start, resume=path)).model
    assert equal(resumed, whole)
    assert resumed.card.architecture.window == (36, 36)


def test_no_window_that_judges_shows_what_is_learnt() -> None:
    settings = SMALL.replace(validation=0.2)
    pairs = annotated_fields([Image(IMAGE, "yx")], [LABELS], 2, "instances")
    going = TrainingRun(pairs, settings, RunOptions(random_model(PADDED), device="cpu"))
    list(going.prepare())
    parted = going.loop.prepared.training_set
    (part,) = parted.held_out
    # half a window
    (example,) = parted.examples
    around = tuple(slice(max(b.start - 16, 0), b.stop + 16) for b in part.box)
    assert (example.classes[around] == IGNORED).all()
    assert (example.classes != IGNORED).any()


def test_a_window_that_does_not_fit_is_told_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = 4 * PADDED.trace.kept_values((32, 32))
    monkeypatch.setattr(memory, "free_memory", lambda _: needed - 1)
    with pytest.raises(MemoryError, match="at least 32 × 32 pixels at a time") as told:
        trained(PADDED)
    assert "choose a smaller width, depth or patch" in str(told.value)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_patch_of_which_a_norm_sees_one_pixel_is_refused(norm: Norm) -> None:
    table = PLAIN.replace(padded=True, window=(4, 4), norm=norm)
    with pytest.raises(ValueError, match="Of patches of 4 × 4 pixels one pixel is"):
        trained(table, SMALL.replace(batch=1))
    if norm == "batch":
        trained(table, SMALL.replace(batch=2, steps=1))


def test_stacks_thinner_than_the_window_are_refused() -> None:
    stack = np.random.default_rng(0).random((4, 40, 40), np.float32)
    labels = (stack > 0.5).astype(np.uint16)
    settings = Training.quick(3).with_network("unetr").replace(width=2, patch=32)
    with pytest.raises(
        ValueError, match="UNETR needs stacks of 16 slices, the thinnest has 4"
    ):
        list(train([stack], [labels], settings, kind="binary", device="cpu"))


def test_the_smallest_input_of_a_deep_network_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the smallest of four poolings is 188 -> 4
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=4)
    needed = 4 * table.trace.kept_values((4, 4))
    monkeypatch.setattr(memory, "free_memory", lambda _: needed - 1)
    with pytest.raises(MemoryError, match="at least 188 × 188 pixels at") as told:
        trained(table)
    assert "or depth, a padded network, or another." in str(told.value)


def test_any_network_can_be_padded_in_windows_of_the_patchs_size() -> None:
    settings = SMALL.replace(network="vnet", padded=True, width=2)
    table = settings.architecture(1, 2)
    assert (table.padded, table.window) == (True, (36, 36))
    # of 4 levels, in volumes thinner than a patch; unpadded it takes 532 pixels
    deep = settings.replace(ndim=3, depth=4, patch=60).architecture(1, 2, slices=40)
    assert deep.window == (40, 64, 64)
    assert settings.replace(padded=False).architecture(1, 2).window is None
    # what is padded as published keeps its window
    unetr = SMALL.replace(network="unetr", patch=40)
    assert unetr.architecture(1, 2) == unetr.replace(padded=True).architecture(1, 2)


@pytest.mark.parametrize(
    "changes", [{"network": "unetr"}, {"padded": True}, {"norm": "instance"}]
)
def test_a_padded_model_predicts_the_same_from_its_file(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    settings = SMALL.replace(**changes, width=2, patch=32, steps=2, validation=0.1)
    model = finished(run(settings)).model
    assert model.card.architecture.window == (32, 32)
    path = tmp_path / "a.safetensors"
    save_model(model, path)
    read = load_model(path)
    assert read.card.architecture == model.card.architecture
    settings = Prediction(device="cpu", precision="fp32")
    found = [list(predict(m, IMAGE, settings=settings))[-1] for m in (model, read)]
    np.testing.assert_array_equal(found[0].probabilities, found[1].probabilities)  # type: ignore[attr-defined]
    lines = summary(read.card)
    assert lines["windows"] == "32 × 32 pixels, one each 16 × 16, blended"


@pytest.mark.parametrize("name", ["vnet", "nnunet", "resenc"])
def test_the_published_depth_fits_into_memory_in_volumes(name: str) -> None:
    settings = Training.paper(3).with_network(name)
    table = settings.architecture(1, 2, slices=64)
    assert table.padded
    assert table.window == (64, 128, 128)
    unpadded = settings.replace(padded=False).architecture(1, 2, slices=2**10)
    assert min(unpadded.min_input) > 280
    assert table.trace.kept_values(table.window) < 2e9
    # another network does not inherit it
    assert not settings.with_network("unet").padded
