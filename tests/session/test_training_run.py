"""Training in a real worker, seen from a workspace without a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from napari.components import ViewerModel

from napari_unet.core.events import CorrectionUsed
from napari_unet.core.training.training_settings import Training
from napari_unet.io.model_file import read_card
from napari_unet.session.images.layers import find
from napari_unet.session.prediction.results import LIVE_RUN
from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Pump

TINY = Training(width=4, depth=2, patch=20, batch=1, steps=60, minutes=0)


@pytest.fixture
def workspace(pump: Pump, tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(
        ViewerModel(), pump.post, Preferences(device="cpu"), tmp_path / "projects"
    )
    annotate(workspace)
    yield workspace
    workspace.close()


def annotate(workspace: Workspace) -> None:
    pixels = np.random.default_rng(0).normal(20, 5, (100, 120)).astype(np.float32)
    pixels[20:40, 20:40] += 80
    pixels[60:80, 70:90] += 80
    layer = workspace.viewer.add_image(pixels, name="two squares")
    image = workspace.images.add([layer])
    labels = workspace.annotating.layers.show(image.id)
    painted = np.ones(pixels.shape, labels.data.dtype)
    painted[20:40, 20:40] = 2
    painted[60:80, 70:90] = 3
    labels.data = painted
    workspace.training.plan.set(training=TINY)


def test_a_run_ends_with_a_model_a_verdict_and_a_last_preview(
    workspace: Workspace, pump: Pump
) -> None:
    training = workspace.training
    training.start()
    pump.until(lambda: training.state == "training")
    pump.until(lambda: training.state == "idle")
    assert len(training.progress.curve.points) == 60
    assert training.progress.comparison is not None
    (path,) = workspace.store.run_folder.glob("*.safetensors")
    assert path.name.startswith("two squares 2")
    assert read_card(path).steps == 60
    assert training.plan.checkpoint is None
    (layer,) = find(workspace.viewer, "cells", run=LIVE_RUN)
    pump.until(lambda: np.asarray(layer.data).any())


def test_a_stack_is_learnt_as_a_volume_and_previewed_in_the_slice_in_view(
    workspace: Workspace, pump: Pump
) -> None:
    pixels = np.random.default_rng(0).normal(20, 5, (6, 60, 60)).astype(np.float32)
    pixels[:, 20:40, 20:40] += 80
    workspace.images.set_use_for_training(workspace.store.project.images[0].id, False)
    image = workspace.images.add([workspace.viewer.add_image(pixels)], "zyx")
    labels = workspace.annotating.layers.show(image.id)
    labels.data = np.where(pixels > 60, 2, 1).astype(labels.data.dtype)
    workspace.viewer.dims.set_current_step(0, 4)
    training = workspace.training
    training.plan.set(
        training=TINY.replace(
            ndim=3, width=2, depth=1, patch=12, steps=8, averaging=0.5
        )
    )
    training.start()
    pump.until(lambda: training.state == "training")
    pump.until(lambda: training.state == "idle")
    assert find(workspace.viewer, "cells", image.id, LIVE_RUN)
    filled = training.preview.results_of(image.id).files.arrays["probability"][1]
    pump.until(lambda: filled[4].min() > 0)
    assert not filled[[0, 1, 2, 3, 5]].any()


def test_strokes_are_used_and_stop_keeps_the_model(
    workspace: Workspace, pump: Pump
) -> None:
    training = workspace.training
    training.plan.set(training=TINY.replace(steps=100_000))
    training.start()
    pump.until(lambda: training.state == "training")
    used: list[object] = []
    handle = training.run.handle
    handle.event.connect(lambda e: isinstance(e, CorrectionUsed) and used.append(e))
    labels = workspace.images.annotation_layer(workspace.images.current.id)
    labels.data_setitem((np.arange(5, 9), np.arange(5, 9)), 4)
    pump.until(lambda: training.tick() or used)
    training.pause()
    training.stop()
    pump.until(lambda: training.state == "idle")
    (path,) = workspace.store.run_folder.glob("*.safetensors")
    assert read_card(path).steps > 0


def test_a_killed_worker_is_told_once_and_training_goes_on(
    workspace: Workspace, pump: Pump
) -> None:
    training = workspace.training
    training.plan.set(training=TINY.replace(steps=100_000))
    messages: list[str] = []
    training.message.connect(lambda _, words: messages.append(words))
    training.start()
    pump.until(lambda: training.progress.step > 3)
    # as when napari's task manager ends it: a checkpoint is written
    training.run.handle.cancel()
    pump.until(lambda: training.state == "idle")
    assert training.plan.checkpoint is not None
    step = training.progress.step
    training.start()
    pump.until(lambda: training.progress.step > step)
    psutil.Process(workspace.worker.pids["network"]).kill()
    pump.until(lambda: training.state == "idle")
    assert len(messages) == 1
    assert "press Train to go on from the last checkpoint" in messages[0]
    training.start()
    pump.until(lambda: training.progress.step >= step)
    training.stop()
    pump.until(lambda: training.state == "idle")
    assert training.plan.checkpoint is None


def test_other_preferences_reach_every_part_that_has_some(workspace: Workspace) -> None:
    before = workspace.preferences
    workspace.set_preferences(before.replace(device="cuda"))
    parts = [
        getattr(part, "_session", part)
        for whole in (workspace, workspace.training, workspace.prediction)
        for part in vars(whole).values()
        if hasattr(part, "preferences") or hasattr(part, "_session")
    ]
    assert workspace.training.automatic._session in parts
    for part in parts:
        assert part.preferences.device == "cuda", type(part).__name__
