"""Trainings that plan themselves: what they learn with, say, and keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core import events
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.image import Image
from napari_unet.core.training.fingerprint import Fingerprint
from napari_unet.core.training.training_settings import AUTO, Training
from napari_unet.engine.training.planning import planned
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import load_model, read_card, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.model import Model

TINY = {"width": 2, "batch": 1, "precision": "fp32", "validation": 0.0}


def discs(slices: int = 1) -> tuple[Image, Image]:
    """Bright discs of 8 pixels' radius through all slices, one id each."""
    y, x = np.mgrid[:60, :60]
    labels = np.zeros((60, 60), np.uint16)
    for number, (cy, cx) in enumerate([(14, 14), (14, 44), (44, 14), (44, 44)], 1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 64] = number
    stack = np.repeat(labels[np.newaxis], slices, axis=0)
    rng = np.random.default_rng(0)
    pixels = (stack > 0) + rng.normal(0, 0.1, stack.shape)
    um = (0.2, 0.2, 0.2)
    return Image(pixels.astype(np.float32), "zyx", um), Image(stack, "zyx", um)


def run(
    settings: Training, slices: int = 1, **options: Any
) -> tuple[events.TrainingStarted, Model]:
    image, labels = discs(slices)
    options.setdefault("device", "cpu")
    job = list(train([image], [labels], settings, kind="instances", **options))
    started = next(e for e in job if isinstance(e, events.TrainingStarted))
    last = job[-1]
    assert isinstance(last, events.TrainingFinished)
    return started, last.model


def test_a_plane_is_learnt_as_planned_and_the_file_says_why(tmp_path: Path) -> None:
    started, model = run(Training.automatic(steps=2, patch=28, **TINY))
    training = model.card.training
    assert started.decisions == training.decisions
    # 197 pixels are a circle of 15.8
    (depth,) = training.decisions
    assert (depth.field, depth.value) == ("depth", 3)
    assert "16 pixels wide" in depth.reason
    assert len(model.card.architecture.trace.halo) == 2
    assert (training.preset, training.patch, training.width) == (AUTO, 28, 2)
    save_model(model, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").card.training == training
    assert model.card.format == 2


def test_a_stack_is_learnt_as_volumes_where_slices_are_near() -> None:
    asked = Training.automatic(steps=1, patch=12, **TINY)
    _, model = run(asked, slices=12)
    assert model.card.training.ndim == model.card.architecture.ndim == 3
    assert model.card.training.decisions[0].field == "ndim"
    assert "12 in a row" in model.card.training.decisions[0].reason
    _, model = run(Training.automatic(steps=1, ndim=2, **TINY), slices=12)
    assert model.card.architecture.ndim == 2
    assert model.card.training.patch == 60


def test_a_run_that_goes_on_keeps_its_plan(tmp_path: Path) -> None:
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    first = Training.automatic(steps=2, patch=28, **TINY)
    _, before = run(first, checkpoint=checkpoint)
    # width and patch would be others
    again = Training.automatic(steps=3)
    started, model = run(again, checkpoint=checkpoint, resume=checkpoint)
    assert started.step == 2
    assert model.card.steps == 3
    assert model.card.architecture == before.card.architecture
    assert model.card.training == before.card.training.replace(steps=3)
    assert read_card(checkpoint).steps == 3


def test_a_run_that_begins_with_a_model_keeps_its_network() -> None:
    _, start = run(Training(steps=1, minutes=0, depth=1, patch=20, **TINY))
    asked = Training.automatic(steps=1, patch=20, batch=1)
    _, model = run(asked, slices=12, start=start)
    assert model.card.architecture == start.card.architecture
    assert (model.card.training.width, model.card.training.depth) == (2, 1)
    assert not model.card.training.decisions


def test_a_network_that_cannot_be_had_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^FCN-8s is for slices \(2-D\) alone\.$"):
        run(Training.automatic(steps=1, ndim=3, network="fcn8"), slices=12)


def test_what_is_tried_is_planned_for_its_share_of_the_budget() -> None:
    wide = Fingerprint(1, (ClassInfo(),), ((1, 900, 900),), (600_000, 60_000), 185, 1)
    asked = Training.automatic(try_both=True, minutes=20.0)
    settings = planned(wide, asked, None, "cpu")
    # two sizes of ten minutes each, for which a small network does
    assert (settings.width, settings.scale, settings.minutes) == (16, 0.22, 20)
    alone = planned(wide, asked.replace(try_both=False), None, "cpu")
    assert (alone.width, alone.scale, alone.minutes) == (32, 0.22, 20)
