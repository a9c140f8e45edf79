"""Recipes of which held-out cells decide."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core import events
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.images.image import Image
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.training import planning
from napari_unet.engine.training.contest import Contest
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import load_model, member_file, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.model import Model

SMALL = {"width": 2, "depth": 1, "batch": 1, "precision": "fp32", "steps": 12}


def wide(seed: int) -> tuple[Image, np.ndarray]:
    """Two cells of 100 pixels, of which shrunk images are worth a try."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:140, :280]
    labels = np.zeros(y.shape, np.uint16)
    for number, cx in enumerate((70, 210), 1):
        labels[(y - 70) ** 2 + (x - cx) ** 2 < 2500] = number
    pixels = (labels > 0) + rng.normal(0, 0.3, labels.shape)
    return Image(pixels.astype(np.float32), "yx", name=f"{seed}"), labels


def stack(seed: int) -> tuple[Image, np.ndarray]:
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:12, :40, :40]
    labels = np.zeros(z.shape, np.uint16)
    for number, (cy, cx) in enumerate([(10, 10), (10, 30), (30, 10), (30, 30)], 1):
        labels[(z - 6) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 25] = number
    pixels = (labels > 0) + rng.normal(0, 0.3, labels.shape)
    return Image(pixels.astype(np.float32), "zyx", (1.0, 1.0, 1.0), f"{seed}"), labels


def run(made: Any, number: int, **options: Any) -> list[events.Event]:
    images, labels = zip(*(made(seed) for seed in range(number)), strict=True)
    patch = 12 if made is stack else 40
    settings = Training.automatic(try_both=True, patch=patch, **SMALL)
    return list(
        train(images, labels, settings, kind="instances", device="cpu", **options)
    )


def finished(job: list[events.Event]) -> Model:
    assert isinstance(job[-1], events.TrainingFinished)
    return job[-1].model


def reason(model: Model) -> str:
    (one,) = (d for d in model.card.training.decisions if d.field == "try_both")
    return one.reason


def test_sizes_are_tried_in_one_budget() -> None:
    job = run(wide, 3)
    model = finished(job)
    started = [e for e in job if isinstance(e, events.TrainingStarted)]
    assert len(started) == 2
    assert all(
        "the same is held out for all that is tried" in e.validation for e in started
    )
    steps = [e for e in job if isinstance(e, events.StepDone)]
    assert [e.progress for e in steps] == pytest.approx(np.arange(1, 13) / 12)
    training = model.card.training
    assert (training.steps, training.seed) == (12, 0)
    assert training.scale in (0.4, 1.0)
    words = reason(model)
    assert "held-out" in words
    assert "slices of 0.4 times the size 0." in words
    assert ", slices 0." in words
    assert model.card.members == 1
    assert len([e for e in job if isinstance(e, events.Judging)]) == 1


def test_slices_and_volumes_are_tried_on_the_same_cells() -> None:
    job = run(stack, 2)
    words = reason(finished(job))
    assert "slices 0." in words
    assert "volumes 0." in words
    ndims = [e.ndim for e in job if isinstance(e, events.TrainingStarted)]
    assert sorted(ndims) == [2, 3]


def test_where_there_is_but_one_way_it_is_taken() -> None:
    images, labels = wide(0)
    settings = Training.automatic(try_both=True, scale=1.0, patch=40, **SMALL)
    job = list(train([images], [labels], settings, kind="instances", device="cpu"))
    model = finished(job)
    assert "there is but one way" in reason(model)
    assert len([e for e in job if isinstance(e, events.StepDone)]) == 12


@pytest.mark.parametrize("made", [wide, stack])
def test_candidates_hold_out_the_same_and_are_judged_by_it(made: Any) -> None:
    images, labels = zip(*(made(seed) for seed in range(2)), strict=True)
    settings = Training.automatic(try_both=True, patch=12, **SMALL)
    pairs = {n: annotated_fields(images, labels, n, "instances") for n in (2, 3)}
    contest = Contest(lambda ndim: pairs[ndim], settings, None, "cpu")
    for _ in contest.prepare():
        pass
    assert len(contest.candidates) == 2
    ndim = max(one.ndim for one in contest.candidates)
    assert all(part.field.ndim == ndim for part in contest.parts)
    share = sum(np.prod([b.stop - b.start for b in p.box]) for p in contest.parts)
    whole = sum(np.prod(f.shape) for f, _ in pairs[ndim])
    assert 0.05 * whole < share < 0.2 * whole


@pytest.mark.parametrize(
    ("number", "share", "cells", "is_kept"), [(2, 0.15, 2, False), (8, 0.4, 8, True)]
)
def test_what_finds_three_more_cells_is_kept(
    number: int, share: float, cells: int, is_kept: bool
) -> None:
    images, labels = zip(*(wide(seed) for seed in range(number)), strict=True)
    settings = Training.automatic(try_both=True, patch=40, validation=share, **SMALL)
    pairs = annotated_fields(images, labels, 2, "instances")
    contest = Contest(lambda _: pairs, settings, None, "cpu")
    for _ in contest.prepare():
        pass
    models = [
        finished(
            list(
                train(
                    images,
                    labels,
                    one.replace(steps=steps, try_both=False),
                    kind="instances",
                    device="cpu",
                )
            )
        )
        for one, steps in zip(contest.candidates, (1, 60), strict=True)
    ]

    def best(*which: Model) -> Model:
        job = contest.best(which)
        try:
            while True:
                next(job)
        except StopIteration as end:
            found: Model = end.value
            return found

    chosen = best(*models)
    told = reason(chosen)
    assert f"by {cells} held-out cells" in told
    first, second = map(float, re.findall(r"(\d\.\d\d)(?=,|;|\.$)", told)[:2])
    assert second > first + 0.5
    assert (chosen.weights is models[1].weights) == is_kept
    assert ("would be chance" in told) != is_kept
    # alike: as the planner would have it
    assert best(models[0], models[0]).weights is models[0].weights
    # what was not tried any more is said
    told = reason(best(models[0]))
    assert told.endswith("; slices not tried, it was finished before.")


def test_an_interrupted_training_goes_on_with_less_memory_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    whole = finished(run(wide, 2, checkpoint=checkpoint))
    save_model(load_model(member_file(checkpoint, 0)), checkpoint)
    member_file(checkpoint, 1).unlink()
    monkeypatch.setattr(planning, "free_memory", lambda _: 30_000)
    again = finished(run(wide, 2, checkpoint=checkpoint, resume=checkpoint))
    assert again.weights.keys() == whole.weights.keys()
    for name, weight in again.weights.items():
        np.testing.assert_array_equal(weight, whole.weights[name])
    assert reason(again) == reason(whole)


def test_what_is_tried_is_chosen_by_auto_and_needs_something_to_judge_by() -> None:
    with pytest.raises(ValueError, match="chosen by the preset auto, found try_both"):
        Training(try_both=True)
    with pytest.raises(ValueError, match="or 3 folds are joined"):
        Training.automatic(try_both=True, folds=3)
    images, labels = wide(0)
    asked = Training.automatic(try_both=True, validation=0.0, **SMALL)
    with pytest.raises(ValueError, match="nothing is held out, as requested"):
        list(train([images], [labels], asked, kind="instances", device="cpu"))


def test_what_cannot_be_tried_is_passed_over_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_unet.engine.training import preparation

    def check(architecture: Any, *_: Any) -> None:
        if architecture.ndim == other:
            raise MemoryError("the patches of a step do not fit into memory.")

    first = next(e.ndim for e in run(stack, 2) if isinstance(e, events.TrainingStarted))
    other = 5 - first
    monkeypatch.setattr(preparation, "check_patches", check)
    job = run(stack, 2)
    assert len([e for e in job if isinstance(e, events.TrainingStarted)]) == 1
    name = "slices" if other == 2 else "volumes"
    assert f"; {name} not tried, the patches of a step" in reason(finished(job))
