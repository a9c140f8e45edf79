from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch

from napari_unet.core import events
from napari_unet.core.annotation.annotations import IGNORED, Annotation, ClassInfo
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.cells.segmentation_tuning import choose_settings, count
from napari_unet.core.images.image import Field, Image
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network import placing
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import prepare
from napari_unet.engine.network.unet import UNet
from napari_unet.engine.training import memory
from napari_unet.engine.training.divergence import FEW
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.training.sampling import Sampler
from napari_unet.engine.training.state import TrainingState
from napari_unet.engine.training.train import train
from napari_unet.engine.training.validation import judge_part, validate
from napari_unet.io.model_file import (
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Machine
    from napari_unet.core.model import Model
    from napari_unet.engine.training.sampling import Batch

SMALL = Training(
    width=4,
    depth=2,
    batch=2,
    patch=36,
    steps=12,
    minutes=0,
    validation=0,
    precision="fp32",
)


def discs(seed: int = 0, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs in noise, and an id for each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.uint16)
    for number in range(1, size * size // 1000):
        cy, cx = rng.uniform(8, size - 8, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 49] = number
    image = (labels > 0) + rng.normal(0, 0.3, labels.shape)
    return image.astype(np.float32), labels


IMAGE, LABELS = discs()
LARGE = discs(seed=5, size=160)


def run(settings: Training = SMALL, **options: Any) -> list[events.Event]:
    options.setdefault("device", "cpu")
    options.setdefault("kind", "instances")
    return list(train([IMAGE], [LABELS], settings, **options))


def finished(job: list[events.Event]) -> events.TrainingFinished:
    last = job[-1]
    assert isinstance(last, events.TrainingFinished)
    return last


def equal(a: Model, b: Model) -> bool:
    return all(np.array_equal(a.weights[n], b.weights[n]) for n in a.weights)


def test_one_image_can_be_learnt() -> None:
    settings = SMALL.replace(width=8, steps=140, batch=4)
    model = finished(run(settings)).model
    test_image, test_labels = discs(seed=1)
    *_, last = predict(model, test_image, settings=Prediction(device="cpu"))
    found = last.probabilities[1] > 0.5  # type: ignore[attr-defined]
    truth = test_labels > 0
    iou = (found & truth).sum() / (found | truth).sum()
    assert iou > 0.85


def test_events_tell_of_start_steps_and_result() -> None:
    job = run()
    started, *steps, last = job
    assert isinstance(started, events.TrainingStarted)
    assert [s.step for s in steps if isinstance(s, events.StepDone)] == [*range(1, 13)]
    assert isinstance(last, events.TrainingFinished)
    assert last.steps == 12
    assert last.problem is None
    progress = [s.progress for s in steps if isinstance(s, events.StepDone)]
    assert progress[-1] == 1.0


def test_one_seed_gives_one_model_and_another_seed_another() -> None:
    first, second = finished(run()).model, finished(run()).model
    other = finished(run(SMALL.replace(seed=1))).model
    assert equal(first, second)
    assert not equal(first, other)


@pytest.mark.parametrize("changes", [{}, {"optimiser": "sgd", "dropout": 0.5}])
def test_resumed_equals_uninterrupted(tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = SMALL.replace(**changes, validation=0.2)
    whole = finished(run(settings)).model
    checkpoint = tmp_path / "run.checkpoint.safetensors"
    job = train(
        [IMAGE],
        [LABELS],
        settings,
        kind="instances",
        checkpoint=checkpoint,
        device="cpu",
    )
    for event in job:
        if isinstance(event, events.StepDone) and event.step == 5:
            break
    job.close()  # type: ignore[attr-defined]
    # what others draw in between must not matter
    torch.manual_seed(99)
    torch.rand(7)
    resumed = run(settings, resume=checkpoint)
    first_step = next(e for e in resumed if isinstance(e, events.StepDone))
    assert first_step.step == 6
    assert equal(finished(resumed).model, whole)


def test_a_training_goes_on_where_networks_learn_in_another_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = annotated_fields([IMAGE], [LABELS], 2, "instances")
    checkpoint = tmp_path / "run.checkpoint.safetensors"
    first = TrainingRun(pairs, SMALL, RunOptions(checkpoint=checkpoint, device="cpu"))
    for _ in first.events():
        pass
    first.loop.write_checkpoint()
    kept = load_checkpoint(checkpoint).tensors

    monkeypatch.setattr(placing, "_learns_faster_plain", lambda _: True)
    options = RunOptions(resume=checkpoint, device="cpu")
    second = TrainingRun(pairs, SMALL.replace(steps=14), options)
    for _ in second.prepare():
        pass
    state = second.loop.prepared.state
    assert state.module.layout == torch.contiguous_format
    for name, weight in state.module.state_dict().items():
        assert weight.is_contiguous()
        np.testing.assert_array_equal(weight, kept[f"module/{name}"])
    for number, values in state.optimiser.state_dict()["state"].items():
        for name in ("exp_avg", "exp_avg_sq"):
            assert values[name].is_contiguous()
            np.testing.assert_array_equal(
                values[name], kept[f"optimiser/{number}/{name}"]
            )
    assert finished(list(second.events())).steps == 14


def test_cancelled_training_leaves_a_checkpoint_that_is_a_model(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.checkpoint.safetensors"
    job = train(
        [IMAGE], [LABELS], SMALL, kind="instances", checkpoint=checkpoint, device="cpu"
    )
    for event in job:
        if isinstance(event, events.StepDone) and event.step == 3:
            job.close()  # type: ignore[attr-defined]
    model = load_model(checkpoint)
    assert model.card.steps == 3
    *_, last = predict(model, IMAGE, settings=Prediction(device="cpu"))
    assert np.isfinite(last.probabilities).all()  # type: ignore[attr-defined]
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.name]


@pytest.mark.parametrize(
    "error", [ValueError, MemoryError, OSError, RuntimeError, KeyboardInterrupt]
)
def test_an_error_of_a_step_leaves_a_checkpoint_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    draw = Sampler.draw

    def broken(self: Sampler, step: int, size: int) -> Batch:
        if step == 7:
            raise error("the image is gone.")
        return draw(self, step, size)

    checkpoint = tmp_path / "c.safetensors"
    monkeypatch.setattr(Sampler, "draw", broken)
    with pytest.raises(error, match="is gone"):
        run(checkpoint=checkpoint)
    monkeypatch.undo()
    assert load_model(checkpoint).card.steps == 7
    resumed = finished(run(resume=checkpoint))
    assert equal(resumed.model, finished(run()).model)


def test_an_error_in_the_midst_of_a_step_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "c.safetensors"
    run(SMALL, checkpoint=checkpoint)
    before = checkpoint.read_bytes()

    def broken(self: TrainingState, memory: float) -> None:
        raise MemoryError("half of the weights have moved.")

    monkeypatch.setattr(TrainingState, "average", broken)
    more = SMALL.replace(steps=20)
    with pytest.raises(MemoryError):
        run(more, resume=checkpoint, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_that_cannot_be_written_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Sampler, step: int, size: int) -> Batch:
        raise ValueError("the image is gone.")

    monkeypatch.setattr(Sampler, "draw", broken)
    with pytest.raises(ValueError, match="is gone"):
        run(checkpoint=tmp_path / "no folder" / "c.safetensors")


def test_a_correction_that_fails_leaves_a_checkpoint(tmp_path: Path) -> None:
    image = Image(IMAGE, "yx")
    labels = np.where(LABELS > 0, LABELS.astype(np.int32) + 1, 1)
    checkpoint = tmp_path / "c.safetensors"
    training = TrainingRun(
        [(Field(image), Annotation(labels))],
        SMALL,
        RunOptions(checkpoint=checkpoint, device="cpu"),
    )
    job = training.events()
    while next(job) != events.StepDone(4, ANY, ANY, ANY):
        pass
    training.correct(Field(image), Annotation(labels[:50]))
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        list(job)
    assert load_model(checkpoint).card.steps == 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("step", [7, 25, 30])
@pytest.mark.parametrize("validation", [0, 0.2])
def test_weights_that_are_no_longer_numbers_lose_no_run(
    tmp_path: Path,
    value: float,
    step: int,
    validation: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the midst, at a look and a validation, and at the last step."""
    # a slow machine would write one of the weights that were still good
    monkeypatch.setattr("napari_unet.engine.training.loop._CHECKPOINT_SECONDS", np.inf)
    settings = SMALL.replace(steps=30, validation=validation, patch=28)
    checkpoint = tmp_path / "c.safetensors"
    training = TrainingRun(
        annotated_fields([LARGE[0]], [LARGE[1]], 2, "instances"),
        settings,
        RunOptions(checkpoint=checkpoint, device="cpu"),
    )
    *_, last = _spoilt(training, step, value)
    assert isinstance(last, events.TrainingFinished)
    assert "no longer" in (last.problem or "")
    assert "a learning rate below" in (last.problem or "")
    save_model(last.model, tmp_path / "m.safetensors")
    assert not checkpoint.exists()


def _spoilt(training: TrainingRun, step: int, value: float) -> Iterator[events.Event]:
    """Train with a gradient that is not finite in one step."""
    for event in training.events():
        yield event
        done = event.step if isinstance(event, events.StepDone) else 0
        bias = training.loop._state.module.score.bias
        if done == step - 1 > 0:
            hook = bias.register_hook(lambda g: torch.full_like(g, value))
        elif done == step:
            hook.remove()


def test_resuming_with_other_images_or_another_network_is_refused(
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "c.safetensors"
    run(checkpoint=checkpoint)
    other = discs(seed=2)
    with pytest.raises(ValueError, match="trained on other images"):
        list(train([other[0]], [other[1]], SMALL, resume=checkpoint, device="cpu"))
    with pytest.raises(ValueError, match="belongs to another network"):
        run(SMALL.replace(width=5), resume=checkpoint)


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    run(SMALL.replace(dropout=0.5))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_last_weights_are_kept_and_scored() -> None:
    settings = SMALL.replace(steps=40, validation=0.2, patch=28)
    job = list(train([LARGE[0]], [LARGE[1]], settings, kind="instances", device="cpu"))
    rounds = [e for e in job if isinstance(e, events.ValidationDone)]
    assert len(rounds) >= 5
    best = max((e.score for e in rounds), key=lambda s: (s.iou, -s.loss))
    marked = [e.score for e in rounds if e.best]
    assert marked[-1] == best
    card = finished(job).model.card
    assert card.score == rounds[-1].score
    assert rounds[-1].score.pixels > 200


def test_weights_that_became_much_worse_give_way_to_the_best() -> None:
    settings = SMALL.replace(
        steps=60, validation=0.2, patch=28, averaging=0, learning_rate=0.01
    )
    pairs = [(Field(Image(LARGE[0], "yx")), Annotation(LARGE[1].astype(np.int32) + 1))]
    watched = TrainingRun(pairs, settings, RunOptions(device="cpu"))
    rounds = []
    for event in watched.events():
        if isinstance(event, events.ValidationDone):
            rounds.append(event.score)
        # half way something breaks: from now on the network unlearns
        if isinstance(event, events.StepDone) and event.step == 50:
            with torch.no_grad():
                for weight in watched.loop._state.module.parameters():
                    weight.mul_(-1)
    best = max(rounds, key=lambda s: (s.iou, -s.loss))
    assert rounds[-1].iou < best.iou - 0.1
    assert isinstance(event, events.TrainingFinished)
    assert event.model.card.score == best


def test_too_few_labels_to_validate_is_said_in_words() -> None:
    labels = np.zeros_like(LABELS)
    labels[10:20, 10:20] = 1
    labels[30:36, 30:36] = 2
    job = list(
        train(
            [IMAGE],
            [labels],
            SMALL.replace(validation=0.2, steps=2),
            kind="annotation",
            device="cpu",
        )
    )
    assert isinstance(job[0], events.TrainingStarted)
    assert "too few labels to validate" in job[0].validation
    assert not any(isinstance(e, events.ValidationDone) for e in job)
    assert finished(job).model.card.score is None


def test_a_diverging_run_stops_with_good_weights_and_a_remedy() -> None:
    settings = SMALL.replace(
        optimiser="sgd", learning_rate=1e4, steps=200, schedule="constant"
    )
    last = finished(run(settings))
    assert last.steps < 200
    assert "learning rate below 10000, such as 0.003" in (last.problem or "")
    assert all(np.isfinite(w).all() for w in last.model.weights.values())


def test_a_loss_that_is_not_a_number_stops_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = UNet.forward
    calls = []

    def broken(self: UNet, image: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return forward(self, image) * (float("nan") if len(calls) > 4 else 1.0)

    monkeypatch.setattr(LayeredNetwork, "forward", broken)
    last = finished(run())
    assert last.steps == 4
    assert "no longer a number" in (last.problem or "")
    assert all(np.isfinite(w).all() for w in last.model.weights.values())


def test_memory_that_runs_out_is_told_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: UNet, image: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LayeredNetwork, "forward", full)
    with pytest.raises(MemoryError, match="smaller patches than 36 pixels or fewer"):
        run()


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_a_budget_in_minutes_ends_in_time(machine: Machine, seconds: float) -> None:
    machine.step = seconds
    job = run(SMALL.replace(steps=0, minutes=1.0))
    last = finished(job)
    # one more would end when the budget does, and there is a model to write
    assert last.steps == 60 / seconds - 1
    assert 60 - seconds <= last.seconds <= 60
    progress = [e.progress for e in job if isinstance(e, events.StepDone)]
    assert progress == sorted(progress)


@pytest.mark.parametrize(
    ("seconds", "minutes", "told"),
    [
        (4.9, 1.0, "12 steps in 1 minute; the computer is busy"),
        (90.0, 1.5, "1 step in 1.5 minutes; the computer is busy"),
        (2.1, 1.0, "28 steps in 1 minute; the computer is busy"),
        (1.9, 1.0, None),
    ],
)
def test_minutes_that_buy_few_steps_are_told(
    machine: Machine, seconds: float, minutes: float, told: str | None
) -> None:
    machine.step = seconds
    last = finished(run(SMALL.replace(steps=0, minutes=minutes, learning_rate=0.03)))
    assert told is None or (last.problem or "").startswith(told)
    assert (last.problem is None) == (told is None), last.problem


def test_minutes_that_are_over_before_the_first_step_are_told(machine: Machine) -> None:
    last = finished(run(SMALL.replace(steps=0, minutes=1), head_start=61.0))
    assert last.steps == 0
    assert (last.problem or "").startswith("No steps in 1 minute; the computer is")


def test_steps_asked_for_and_a_wish_to_finish_are_never_too_few() -> None:
    settings = SMALL.replace(steps=0, minutes=60, learning_rate=0.03)
    watched = training_run(settings)
    for event in watched.events():
        if isinstance(event, events.StepDone) and event.step == 25:
            watched.finish()
    assert isinstance(event, events.TrainingFinished)
    assert event.steps == 25
    assert "in 60 minutes" not in (event.problem or "")


@pytest.mark.parametrize(("sees", "name"), [(0, "background"), (1, "cells")])
def test_a_model_that_sees_one_class_everywhere_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, sees: int, name: str
) -> None:
    forward = UNet.forward

    def blind(self: UNet, image: torch.Tensor) -> torch.Tensor:
        scores = forward(self, image) * 1e-3
        return scores + 9 * torch.eye(2)[sees].reshape(1, 2, 1, 1)

    monkeypatch.setattr(LayeredNetwork, "forward", blind)
    problem = finished(run(SMALL.replace(steps=FEW))).problem or ""
    assert f"takes everything for {name}, after {FEW} steps: train for" in problem
    # who asks for a few steps tries something out
    assert finished(run(SMALL.replace(steps=FEW - 1))).problem is None


def test_a_run_can_start_from_a_model_with_other_channels_and_classes() -> None:
    start = finished(run(SMALL.replace(steps=60))).model
    colour = np.stack([IMAGE, IMAGE])
    classes = (LABELS > 0).astype(np.uint8)
    classes[LABELS > 4] = 2
    settings = SMALL.replace(steps=2, width=9)
    job = list(
        train(
            [_channels_first(colour)],
            [classes],
            settings,
            kind="semantic",
            start=start,
            device="cpu",
        )
    )
    table = finished(job).model.card.architecture
    assert (table.channels, table.classes) == (2, 3)
    assert table.levels == start.card.architecture.levels
    assert finished(job).model.card.parent == "model"
    first = next(e.loss for e in job if isinstance(e, events.StepDone))
    assert first < 2


def test_a_run_that_starts_from_a_model_begins_where_it_ended() -> None:
    start = finished(run(SMALL.replace(steps=80, width=8))).model
    again = run(SMALL.replace(steps=1, width=8), start=start)
    scratch = run(SMALL.replace(steps=1, width=8))
    loss = [
        next(e.loss for e in job if isinstance(e, events.StepDone))
        for job in (again, scratch)
    ]
    assert loss[0] < 0.6 * loss[1]


def test_cells_that_a_start_finds_are_not_dropped_and_less_often_split() -> None:
    settings = SMALL.replace(steps=1)
    first = finished(run(settings)).model
    usual = first.card.segmentation
    for size, waist in ((usual.min_size - 1, usual.min_distance / 2), (10**6, 99.0)):
        known = usual.replace(min_size=size, min_distance=waist)
        start = replace(first, card=first.card.replace(segmentation=known))
        found = finished(run(settings, start=start)).model.card.segmentation
        assert found.min_size == min(size, usual.min_size)
        between = (waist * usual.min_distance) ** 0.5
        assert found.min_distance == pytest.approx(between, abs=0.01)


def test_the_rule_for_grey_values_is_that_of_the_weights_it_goes_on_from(
    tmp_path: Path,
) -> None:
    settings = SMALL.replace(steps=1)
    first = finished(run(settings)).model
    assert first.card.normalisation == "structure"
    old = replace(first, card=first.card.replace(normalisation="frame"))
    assert finished(run(settings, start=old)).model.card.normalisation == "frame"
    checkpoint = tmp_path / "run.checkpoint.safetensors"
    finished(run(settings, start=old, checkpoint=checkpoint))
    again = finished(run(settings, resume=checkpoint)).model
    assert again.card.normalisation == "frame"


def test_a_volume_can_be_learnt_from_a_thin_stack() -> None:
    image, labels = discs(size=64)
    stack = np.stack([image] * 6)
    settings = SMALL.replace(ndim=3, steps=2, patch=24, batch=1)
    job = list(
        train(
            [stack], [np.stack([labels] * 6)], settings, kind="instances", device="cpu"
        )
    )
    model = finished(job).model
    assert model.card.architecture.step[0] < model.card.architecture.step[1]
    *_, last = predict(model, stack, settings=Prediction(device="cpu"))
    assert last.probabilities.shape == (6, 2, 64, 64)  # type: ignore[attr-defined]


def test_several_images_of_different_sizes_are_learnt_together() -> None:
    second, more = discs(seed=3, size=70)
    job = list(
        train([IMAGE, second], [LABELS, more], SMALL, kind="instances", device="cpu")
    )
    names = [r.annotated for r in finished(job).model.card.images]
    assert names == [IMAGE.size, second.size]


def test_slices_that_are_not_annotated_are_left_out() -> None:
    stack = np.stack([IMAGE] * 3)
    labels = np.zeros(stack.shape, np.uint8)
    labels[1] = np.where(LABELS > 0, 2, 1)
    job = list(train([stack], [labels], SMALL, kind="annotation", device="cpu"))
    assert [r.name for r in finished(job).model.card.images] == ["image z=1"]


@pytest.mark.parametrize(
    ("images", "labels", "kind", "message"),
    [
        ([IMAGE], [], None, "1 image.* and 0 label"),
        ([], [], None, "0 image"),
        ([IMAGE], [LABELS[:-1]], "instances", "equal sizes"),
        ([IMAGE], [np.zeros_like(LABELS)], "annotation", "nothing is annotated"),
        ([IMAGE], [np.ones_like(LABELS)], "annotation", "only background"),
        ([IMAGE], [np.full_like(LABELS, 2)], "annotation", "only cells"),
        ([IMAGE], [LABELS.astype(int) - 1], "instances", "found -1"),
        ([np.full_like(IMAGE, np.nan)], [LABELS], "instances", "NaN or infinite"),
        ([IMAGE, np.stack([IMAGE] * 2)], [LABELS] * 2, "instances", "equal sizes"),
    ],
)
def test_input_that_cannot_be_learnt_from_is_refused(
    images: list[np.ndarray], labels: list[np.ndarray], kind: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(train(images, labels, SMALL, kind=kind, device="cpu"))


def test_images_with_different_channels_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"one number of channels, found 1 \(.*\) and 2 \("
    ):
        list(
            train(
                [IMAGE, _channels_first(np.stack([IMAGE, IMAGE]))],
                [LABELS, LABELS],
                SMALL,
                kind="instances",
                device="cpu",
            )
        )


def _channels_first(colour: np.ndarray) -> Any:
    return Image(colour, "cyx")


PLANES = [discs(seed + 5, 160) for seed in range(3)]
STACK = Image(np.stack([p[0] for p in PLANES]), "zyx", name="stack")


def annotation(z: int) -> Annotation:
    labels = PLANES[z][1].astype(np.int32)
    return Annotation(np.where(labels > 0, labels + 1, 1))


def training_run(
    settings: Training = SMALL, slices: tuple[int, ...] = (0, 1), **options: Any
) -> TrainingRun:
    pairs = [(Field(STACK, 0, z), annotation(z)) for z in slices]
    return TrainingRun(pairs, settings, RunOptions(device="cpu", **options))


@pytest.mark.parametrize("changes", [{}, {"optimiser": "sgd", "dropout": 0.5}])
def test_training_with_previews_is_training_without(changes: dict[str, Any]) -> None:
    settings = SMALL.replace(**changes, validation=0.2)
    without = finished(list(training_run(settings).events()))
    watched = training_run(settings)
    shown = []
    events_: list[events.Event] = []
    for event in watched.events():
        events_.append(event)
        *_, last = predict(watched.loop.network(), PLANES[2][0])
        shown.append(last.probabilities.copy())  # type: ignore[attr-defined]
        torch.rand(3)
    assert equal(finished(events_).model, without.model)
    # they do show that it learns
    assert np.abs(shown[-1] - shown[0]).max() > 1e-3


def test_a_network_shown_does_not_change_with_the_training() -> None:
    watched = training_run()
    steps = watched.events()
    next(steps)
    network = watched.loop.network()
    *_, before = predict(network, PLANES[2][0])
    for _ in steps:
        pass
    *_, after = predict(network, PLANES[2][0])
    np.testing.assert_array_equal(before.probabilities, after.probabilities)  # type: ignore[attr-defined]


def test_before_it_is_prepared_a_run_shows_no_network() -> None:
    with pytest.raises(RuntimeError, match="has not begun"):
        training_run().loop.network()


def test_time_in_which_others_work_does_not_count(machine: Machine) -> None:
    machine.step = 1.0
    watched = training_run(SMALL.replace(steps=0, minutes=0.5))
    job = []
    for event in watched.events():
        before = watched.clock.seconds()
        machine.now += 100
        assert watched.clock.seconds() == before
        job.append(event)
    last = finished(job)
    assert last.steps == 29
    assert last.seconds <= 30


def test_a_run_that_is_told_to_finish_ends_properly(tmp_path: Path) -> None:
    place = tmp_path / "c.safetensors"
    settings = SMALL.replace(steps=400, validation=0.2)
    watched = training_run(settings, checkpoint=place)
    kinds = []
    for event in watched.events():
        kinds.append(type(event))
        if isinstance(event, events.StepDone) and event.step == 3:
            watched.finish()
    assert isinstance(event, events.TrainingFinished)
    assert (event.steps, event.problem) == (3, None)
    kinds = [kind for kind in kinds if kind is not events.ValidationTile]
    assert kinds[-3:] == [
        events.ValidationDone,
        events.CheckpointWritten,
        events.TrainingFinished,
    ]
    assert event.model.card.score is not None


def test_how_cells_are_found_is_chosen_by_those_held_out() -> None:
    image, labels = discs(seed=5, size=400)
    pairs = [
        (Field(Image(image, "yx")), Annotation(labels.astype(np.int32) + 1)),
    ]
    settings = SMALL.replace(width=4, steps=40, validation=0.4)
    watched = TrainingRun(pairs, settings, RunOptions(device="cpu"))
    *_, last = watched.events()
    assert isinstance(last, events.TrainingFinished)
    model = last.model
    network = prepare(model, "cpu", last.model.card.precision)
    parts = []
    for part in watched.loop.prepared.training_set.held_out:
        cells = pairs[0][1].crop(part.box).targets().instances
        judging = judge_part(network, part, cells)
        while True:
            try:
                next(judging)
            except StopIteration as end:
                parts.append(end.value)
                break
    # the discs have a radius of 7 pixels, where none covers another
    usual = watched.loop.prepared.state.card.segmentation
    assert usual.min_distance == pytest.approx(0.15 * 7, rel=0.1)
    assert usual.min_size == pytest.approx(0.15 * np.pi * 49, rel=0.2)
    assert count(parts, usual.min_size) >= 20
    *_, best = choose_settings(parts, usual, (1,))
    assert model.card.segmentation == best


def test_fields_are_prepared_one_by_one() -> None:
    watched = training_run(slices=(0, 1, 2))
    assert len(list(watched.prepare())) == 3
    assert list(watched.prepare()) == []
    assert isinstance(next(watched.events()), events.TrainingStarted)


def test_a_correction_is_used_from_the_next_step_on() -> None:
    watched = training_run()
    order = []
    for event in watched.events():
        order.append(event)
        if isinstance(event, events.StepDone) and event.step == 4:
            watched.correct(Field(STACK, 0, 2), annotation(2))
            assert len(watched.loop.prepared.training_set.examples) == 2
    used = [k for k, e in enumerate(order) if isinstance(e, events.CorrectionUsed)]
    assert len(used) == 1
    assert order[used[0]] == events.CorrectionUsed(4)
    assert order[used[0] - 1].step == 4  # type: ignore[attr-defined]
    assert order[used[0] + 1].step == 5  # type: ignore[attr-defined]
    assert len(watched.loop.prepared.training_set.examples) == 3
    card = finished(order).model.card
    assert [r.name for r in card.images] == ["stack z=0", "stack z=1", "stack z=2"]
    plain = finished(list(training_run().events())).model
    assert not equal(finished(order).model, plain)


def test_a_corrected_run_goes_on_as_one_with_the_right_labels() -> None:
    """What is drawn and learnt after a correction is what a fresh run would learn."""
    right = annotation(0)
    wrong = right.labels.copy()
    wrong[20:50, 30:70] = 1
    corrected = TrainingRun(
        [(Field(STACK, 0, 0), Annotation(wrong))], SMALL, RunOptions(device="cpu")
    )
    for _ in corrected.prepare():
        pass
    # two strokes before the same step
    box = (slice(20, 35), slice(30, 70))
    half = wrong.copy()
    half[box] = right.labels[box]
    corrected.correct(Field(STACK, 0, 0), Annotation(half), box)
    box = (slice(33, 50), slice(30, 70))
    corrected.correct(Field(STACK, 0, 0), right, box)
    fresh = TrainingRun([(Field(STACK, 0, 0), right)], SMALL, RunOptions(device="cpu"))
    models = [finished(list(r.events())).model for r in (corrected, fresh)]
    assert equal(*models)
    assert models[0].card.images == models[1].card.images


def test_what_is_held_out_stays_so_when_it_is_corrected() -> None:
    watched = training_run(SMALL.replace(validation=0.2), slices=(0,))
    for _ in watched.prepare():
        pass
    (part,) = watched.loop.prepared.training_set.held_out
    steps = watched.events()
    next(steps)
    changed = Annotation(np.ones((160, 160), np.int32))
    watched.correct(Field(STACK, 0, 0), changed)
    assert isinstance(next(steps), events.CorrectionUsed)
    (now,) = watched.loop.prepared.training_set.held_out
    (learnt,) = watched.loop.prepared.training_set.examples
    assert now.box == part.box
    assert not now.example.classes.any()
    assert (learnt.classes[part.box] == IGNORED).all()


def test_a_class_that_comes_with_a_correction_is_learnt() -> None:
    classes = (ClassInfo(name="a"), ClassInfo(name="b"))
    labels = annotation(0).labels
    first = Annotation(labels, classes)
    numbers = dict.fromkeys(range(2, 12), 2)
    watched = TrainingRun(
        [(Field(STACK, 0, 0), first)],
        SMALL.replace(steps=60, class_balance=0.5),
        RunOptions(device="cpu"),
    )
    for event in watched.events():
        if isinstance(event, events.TrainingStarted):
            watched.correct(Field(STACK, 0, 0), Annotation(labels, classes, numbers))
    assert isinstance(event, events.TrainingFinished)
    *_, last = predict(event.model, PLANES[0][0], settings=Prediction(device="cpu"))
    here = np.isin(labels, list(numbers))
    assert last.probabilities[2][here].mean() > 0.15  # type: ignore[attr-defined]


def test_when_all_annotation_is_erased_the_run_goes_on_with_what_it_had() -> None:
    watched = training_run(slices=(0,))
    for event in watched.events():
        if isinstance(event, events.StepDone) and event.step == 2:
            nothing = Annotation(np.zeros((160, 160), np.int32))
            watched.correct(Field(STACK, 0, 0), nothing)
    assert isinstance(event, events.TrainingFinished)
    assert event.steps == 12
    assert event.problem is None


def test_a_run_is_resumed_with_more_slices_and_smaller_patches(tmp_path: Path) -> None:
    place = tmp_path / "c.safetensors"
    settings = SMALL.replace(validation=0.2)
    first = training_run(settings, slices=(0,), checkpoint=place)
    for _ in first.events():
        pass
    held = first.loop.prepared.training_set.held_out[0].box
    longer = settings.replace(steps=16, patch=20)
    # painted elsewhere, another corner would be held out
    pairs = [(Field(STACK, 0, z), annotation(z)) for z in (2, 0)]
    pairs[1][1].labels[:100] = 0
    again = TrainingRun(pairs, longer, RunOptions(resume=place, device="cpu"))
    job = list(again.events())
    assert [e.step for e in job if isinstance(e, events.StepDone)] == [13, 14, 15, 16]
    (part,) = again.loop.prepared.training_set.held_out
    assert part.box == held
    assert part.example.field.z == 0


def test_a_network_that_sees_only_background_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def dead(self: UNet, image: torch.Tensor) -> torch.Tensor:
        """What is left of a network whose activations are all zero: its last bias."""
        calls.append(1)
        halo = self.architecture.halo
        size = [n - 2 * h for n, h in zip(image.shape[2:], halo, strict=True)]
        bias = torch.tensor([1.0, 0.0]) + 0 * self.score.bias
        return bias.view(1, 2, 1, 1).expand(len(image), 2, *size)

    monkeypatch.setattr(LayeredNetwork, "forward", dead)
    last = finished(run(SMALL.replace(steps=2000, batch=1)))
    assert 300 <= last.steps < 1000
    assert "takes everything for background" in (last.problem or "")
    assert "paint more of what it misses" in (last.problem or "")
    # the weights are kept from before it went wrong
    assert "of step 0" in (last.problem or "") or "of step 25" in (last.problem or "")


def test_patches_that_cannot_fit_into_memory_are_refused_at_once() -> None:
    settings = Training.quick().replace(batch=256, patch=4096, minutes=1)
    image, labels = np.zeros((64, 64), np.float32), np.ones((64, 64), np.int32)
    labels[:32] = 0
    with pytest.raises(MemoryError, match="smaller patches than 4096 pixels or fewer"):
        list(train([image], [labels], settings, device="cpu"))


def test_weights_that_cannot_fit_into_memory_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # of 31 million weights each of four bytes is kept five times
    settings = SMALL.replace(width=64, depth=4, patch=4)
    monkeypatch.setattr(memory, "free_memory", lambda _: 600e6)
    with pytest.raises(MemoryError, match=r"31 million weights takes 0\.6 GB to be"):
        run(settings)


@pytest.mark.parametrize("change", ["missing", "more", "shape", "score"])
def test_a_model_to_start_from_whose_weights_do_not_fit_its_card_is_refused(
    change: str,
) -> None:
    model = finished(run(SMALL.replace(steps=1))).model
    weights = dict(model.weights)
    name = "score.weight" if change == "score" else "down.1.0.weight"
    if change == "missing":
        del weights[name]
    elif change == "more":
        weights["more"] = weights[name]
    else:
        weights[name] = weights[name][:, :1]
    with pytest.raises(ValueError, match="weights are not those of the network"):
        run(start=replace(model, weights=weights))


@pytest.mark.parametrize("part", ["module/", "optimiser/0/", "best/", "optimiser/99/"])
def test_a_checkpoint_of_which_a_part_is_missing_is_refused_in_a_sentence(
    tmp_path: Path, part: str
) -> None:
    path = tmp_path / "c.safetensors"
    run(SMALL.replace(validation=0.2), checkpoint=path)
    whole = load_checkpoint(path)
    name = next((n for n in whole.tensors if n.startswith(part)), part + "exp_avg")
    tensors = {n: t for n, t in whole.tensors.items() if n != name}
    if name not in whole.tensors:
        tensors[name] = np.zeros((2, 2), np.float32)
    elif part == "best/":
        tensors[name] = np.zeros((9, 9, 9), np.float32)
    save_checkpoint(replace(whole, tensors=tensors), path)
    with pytest.raises(ValueError, match=r"c\.safetensors: the state of its training"):
        run(SMALL.replace(steps=20, validation=0.2), resume=path)


def test_a_model_has_the_pixel_size_of_its_images_and_says_what_it_assumed() -> None:
    plane = Image(IMAGE, "yx", (0.5, 0.25), "a")
    # a stack of which only the size along z is unknown, and one of which nothing is
    stack = Image(np.stack([IMAGE] * 2), "zyx", (0.5, 0.25), "b")
    bare = Image(IMAGE, "yx", name="c")
    labels = [LABELS, np.stack([LABELS] * 2), LABELS]
    settings = SMALL.replace(steps=1)
    job = list(train([plane, stack, bare], labels, settings, device="cpu"))
    started, card = job[0], finished(job).model.card
    assert isinstance(started, events.TrainingStarted)
    assert card.spacing_um == (0.5, 0.25)
    assert started.notes == card.notes
    assert card.notes == (
        "c without pixel size: taken for 0.5 × 0.25 µm as the others have.",
    )


def test_images_of_different_pixel_sizes_are_refused_or_mixed_on_purpose() -> None:
    images = [Image(IMAGE, "yx", (s, s), f"{s} µm") for s in (0.5, 0.2)]
    with pytest.raises(ValueError, match=r"different pixel sizes, 0\.5 × 0\.5 µm"):
        next(train(images, [LABELS] * 2, SMALL, device="cpu"))
    mixed = SMALL.replace(steps=1, mix_pixel_sizes=True)
    card = finished(list(train(images, [LABELS] * 2, mixed, device="cpu"))).model.card
    assert card.spacing_um is None
    assert "mixed" in card.notes[0]


def test_a_grey_image_among_colours_is_learnt_as_colours() -> None:
    colours = Image(np.stack([IMAGE, IMAGE, IMAGE + 1], -1), "yxc")
    grey = Image(IMAGE, "yx", grey=True)
    job = train([colours, grey], [LABELS] * 2, SMALL.replace(steps=1), device="cpu")
    model = finished(list(job)).model
    assert model.card.architecture.channels == 3
    *_, last = predict(model, grey)
    assert isinstance(last, events.PredictionFinished)
    with pytest.raises(ValueError, match=r"3 channel\(s\), the image has 1; some note"):
        next(predict(model, Image(IMAGE, "yx", notes=("some note.",))))


def everything(labels: np.ndarray) -> np.ndarray:
    return labels + 1


def some_rows(labels: np.ndarray) -> np.ndarray:
    """Less than the half, of which most is background."""
    painted = labels.astype(np.int32) + 1
    painted[40:] = 0
    return painted


def strokes(labels: np.ndarray) -> np.ndarray:
    """A line through each disc, and lines between them."""
    painted = labels.astype(np.int32) + 1
    painted[np.arange(len(labels)) % 8 > 1] = 0
    return painted


@pytest.mark.parametrize("paint", [everything, some_rows, strokes])
@pytest.mark.parametrize("kind", ["cells", "regions"])
def test_the_score_in_the_card_is_that_of_the_model_in_the_file(
    paint: Callable[[np.ndarray], np.ndarray], kind: Any
) -> None:
    pairs = []
    for seed in range(6):
        image, labels = discs(seed=seed)
        painted = paint(labels).astype(np.int32)
        known = Annotation(painted, (ClassInfo(name="discs", kind=kind),))
        pairs.append((Field(Image(image, "yx"), 0, 0), known))
    settings = SMALL.replace(steps=20, validation=0.3)
    training = TrainingRun(pairs, settings, RunOptions(device="cpu"))
    order = list(training.events())
    model = finished(order).model
    held_out = training.loop.prepared.training_set.held_out
    assert held_out
    *_, score = validate(prepare(model, "cpu", "fp32"), held_out)
    assert score is not None
    assert model.card.score is not None
    assert model.card.score.iou == pytest.approx(score.iou, abs=1e-4)
    assert model.card.score.loss == pytest.approx(score.loss, rel=1e-3)
    # the last step is told of before anything is judged
    kinds = [type(event) for event in order]
    last = len(kinds) - 1 - kinds[::-1].index(events.StepDone)
    assert kinds[last + 1] is events.Judging
    assert kinds.count(events.Judging) == 1
