"""Several networks in one training of the worker, corrected meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from example_jobs import discs, stored_annotation, stored_image, train_job
from napari_unet.core import events
from napari_unet.core.jobs import Correction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.worker import training_job
from napari_unet.engine.worker.inbox import Task
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.io.model_file import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.jobs import TrainJob

TINY = Training(
    width=2, depth=1, batch=1, patch=20, steps=6, minutes=0, precision="fp32"
)


def begun(job: TrainJob) -> tuple[Any, Task, ModelCache]:
    task, cache = Task(1, job), ModelCache()
    return training_job.run(job, Context(task, cache)), task, cache


def test_folds_are_trained_shown_and_saved_as_one_model(tmp_path: Path) -> None:
    job = train_job(tmp_path, TINY.replace(folds=2))
    running, task, cache = begun(job)
    painted = np.stack([discs(seed)[1] for seed in range(3)])
    (tmp_path / "now").mkdir()
    now = stored_annotation(tmp_path / "now", painted, "zyx")
    told = []
    for event in running:
        told.append(event)
        if isinstance(event, events.StepDone):
            assert cache.live is not None
            assert cache.live.network().geometry.ndim == 2
        if isinstance(event, events.StepDone) and event.step == 1:
            # the third slice, which had nothing, is painted
            task.corrections.append(Correction(0, 0, 2, None, now))
    assert cache.live is None
    started = [e.validation for e in told if isinstance(e, events.TrainingStarted)]
    assert started == [
        "network 1 of 2, 1 of 2 slices held out",
        "network 2 of 2, 1 of 3 slices held out",
    ]
    model = load_model(job.output)
    assert (model.card.members, model.card.training) == (2, job.settings)
    (verdict,) = (e for e in told if isinstance(e, events.ModelComparison))
    assert verdict.outcome == "first"
    assert verdict.sentence.startswith("The model is the mean of 2 networks, with IoU ")
    (saved,) = (e for e in told if isinstance(e, events.ModelSaved))
    assert saved.steps == 6


def test_a_network_that_learns_to_denoise_beside_is_not_shown(tmp_path: Path) -> None:
    running, _, cache = begun(train_job(tmp_path / "cells", TINY))
    while cache.live is None:
        next(running)
    course = cache.live
    noise = train_job(tmp_path / "noise", TINY.with_task("denoise"), annotations=())
    beside = training_job.run(noise, Context(Task(2, noise), cache))
    for _ in beside:
        assert cache.live is course
    for _ in running:
        assert cache.live is course
    assert cache.live is None


def test_finished_early_the_networks_that_are_finished_are_saved(
    tmp_path: Path,
) -> None:
    job = train_job(tmp_path, TINY.replace(folds=2))
    running, task, _ = begun(job)
    steps = 0
    for event in running:
        steps += isinstance(event, events.StepDone)
        if steps == 4:
            task.finishing = True
    assert steps == 4
    assert load_model(job.output).card.members == 1


def test_why_one_is_kept_of_what_was_tried_is_the_verdict(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:140, :280]
    labels = np.where((y - 70) ** 2 + (x - 70) ** 2 < 2500, 2, 1)
    labels[(y - 70) ** 2 + (x - 210) ** 2 < 2500] = 3
    image = ((labels > 1) + rng.normal(0, 0.3, labels.shape)).astype(np.float32)
    settings = Training.automatic(
        try_both=True, width=2, depth=1, batch=1, patch=30, steps=6, precision="fp32"
    )
    wide = tmp_path / "wide"
    wide.mkdir()
    job = train_job(
        tmp_path,
        settings,
        images=(stored_image(wide, image, "yx"),),
        annotations=(stored_annotation(wide, labels.astype(np.int32), "yx"),),
        places=(((0, 0),),),
    )
    told = list(begun(job)[0])
    (verdict,) = (e for e in told if isinstance(e, events.ModelComparison))
    assert "slices of 0.4 times the size" in verdict.sentence
    card = load_model(job.output).card
    assert card.training.decisions[-1].reason == verdict.sentence
    assert card.training.scale in (0.4, 1.0)


@pytest.mark.parametrize(
    ("place", "ndim", "fields"),
    [
        ((0, 1), 2, [(0, 1)]),
        ((0, 1), 3, [(0, None)]),
        ((0, None), 3, [(0, None)]),
        ((0, None), 2, [(0, 0), (0, 1), (0, 2)]),
    ],
)
def test_what_is_corrected_is_known_to_networks_of_both_kinds(
    tmp_path: Path, place: Any, ndim: int, fields: Any
) -> None:
    job = train_job(tmp_path)
    data = training_job.TrainingData(job)
    box = (slice(1, 3), slice(2, 5)) if place[1] is not None else None
    correction = Correction(0, *place, box, job.annotations[0])
    found = list(data.corrected(correction, ndim))
    assert [(field.t, field.z) for field, _, _ in found] == fields
    assert all(known.labels.shape == field.shape for field, known, _ in found)
    same = fields == [place]
    assert [changed for _, _, changed in found] == [box if same else None] * len(found)
    # volumes are those of the slices, and the other way
    pairs = list(data.pairs(ndim))
    assert len({(f.t, f.z) for f, _ in pairs}) == len(pairs)
    assert {f.ndim for f, _ in pairs} == {ndim}
