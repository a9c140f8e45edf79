"""Work that was begun in the docks when a real worker process is killed."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel

from example_models import random_model
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.training.training_settings import Training
from napari_unet.io.export import write_labels
from napari_unet.io.model_file import save_model
from napari_unet.session.annotating.data_check import DataCheck
from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Pump
    from napari_unet.core.jobs import WorkerKind
    from napari_unet.session.worker.client import Handle

NARROW = u_shape(ndim=2, channels=1, classes=2, width=4, depth=2)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")


class Bench:
    """A workspace with an annotated image and a model."""

    def __init__(self, tmp_path: Path, pump: Pump) -> None:
        self.pump, self.folder = pump, tmp_path
        self.workspace = Workspace(
            ViewerModel(), pump.post, Preferences(device="cpu"), tmp_path / "projects"
        )
        self.told: list[tuple[str, str]] = []
        self.workspace.message.connect(lambda *words: self.told.append(words))
        pixels = np.random.default_rng(0).random((3, 60, 60)).astype(np.float32)
        layer = self.workspace.viewer.add_image(pixels, name="cells")
        self.image = self.workspace.images.add([layer], "zyx")
        labels = self.workspace.annotating.layers.show(self.image.id)
        painted = np.ones(pixels.shape, labels.data.dtype)
        painted[:, 20:40, 20:40] = 2
        labels.data = painted
        model = tmp_path / "narrow.safetensors"
        save_model(random_model(NARROW), model)
        self.workspace.models.add(model)
        self.workspace.models.select(model)

    def until(self, condition: Callable[[], object]) -> None:
        def ticked() -> object:
            self.workspace.tick()
            return condition()

        self.pump.until(ticked)

    def lose(self, kind: WorkerKind, begin: Callable[[], object]) -> list[Handle]:
        """Begin work of a process that stands still, and then is killed."""
        worker = self.workspace.worker
        begun: list[Handle] = []
        worker.warm_up(kind)
        pid = worker.pids[kind]
        os.kill(pid, signal.SIGSTOP)
        worker.started.connect(begun.append)
        begin()
        self.until(lambda: begun)
        worker.started.disconnect(begun.append)
        self.told.clear()
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: not begun[0].running)
        return begun


@pytest.fixture
def bench(tmp_path: Path, pump: Pump) -> Iterator[Bench]:
    bench = Bench(tmp_path, pump)
    yield bench
    bench.workspace.close()


def stays_in_the_run_bar(bench: Bench) -> bool:
    return "(signal 9)" in bench.workspace.worker.fault


def test_a_prediction(bench: Bench) -> None:
    control = bench.workspace.prediction
    bench.lose("network", lambda: control.predict("layer"))
    assert not control.running
    ((level, told),) = bench.told
    assert level == "error"
    assert "(signal 9)" in told
    assert stays_in_the_run_bar(bench)
    assert control.predict("layer")
    bench.until(lambda: not control.running and control.segmenter.idle)
    assert not stays_in_the_run_bar(bench)
    assert len(bench.told) == 1


def test_a_folder(bench: Bench) -> None:
    source = bench.folder / "in"
    source.mkdir()
    write_labels(source / "a.tif", np.ones((60, 60), np.uint8), "yx")
    control = bench.workspace.prediction
    target = bench.folder / "out"
    bench.lose("network", lambda: control.predict_folder(source, target))
    outcome = control.folder
    assert outcome is not None
    assert not outcome.running
    assert "(signal 9)" in (outcome.end or "")
    assert not control.busy
    assert stays_in_the_run_bar(bench)


def test_a_data_check(bench: Bench) -> None:
    check = DataCheck(bench.workspace.session)
    failed: list[str] = []
    bench.workspace.message.connect(lambda _, words: failed.append(words))
    bench.lose("cpu", check.check)
    assert not check.running
    (told,) = failed
    assert "(signal 9)" in told
    assert stays_in_the_run_bar(bench)
    check.check()
    bench.until(lambda: not check.running)
    assert check.report is not None


def test_a_training(bench: Bench) -> None:
    training = bench.workspace.training
    training.plan.set(
        training=Training(width=2, depth=1, patch=20, batch=1, steps=9, minutes=0)
    )
    bench.lose("network", training.start)
    assert training.state == "idle"
    assert bench.told == [
        ("error", "The training process was ended: press Train to start over.")
    ]
    assert stays_in_the_run_bar(bench)


def test_cells_and_the_export_that_waits_for_them(bench: Bench) -> None:
    control, folder = bench.workspace.prediction, bench.folder / "exported"
    bench.lose("cpu", lambda: control.predict("layer"))
    bench.until(lambda: not control.running)
    segmenter, exporter = control.segmenter, control.exporter
    # another process looks for them, without being asked
    folder.mkdir()
    exporter.export(folder, [bench.image.id])
    bench.until(lambda: not exporter.running)
    assert segmenter.idle
    lost, done = bench.told
    assert lost[0] == "error"
    assert "(signal 9)" in lost[1]
    assert done == ("info", f"2 files are in {folder} now.")
    assert bench.workspace.prediction.unexported() == []


def test_two_searches_for_cells_are_lost_with_one_worker(bench: Bench) -> None:
    """That of the slice in view, and that of all others."""
    control, worker = bench.workspace.prediction, bench.workspace.worker
    worker.warm_up("cpu")
    pid = worker.pids["cpu"]
    begun: list[Handle] = []
    os.kill(pid, signal.SIGSTOP)
    worker.started.connect(begun.append)
    control.predict("layer")
    bench.until(lambda: len(begun) == 3 and not control.running)
    os.kill(pid, signal.SIGKILL)
    bench.until(lambda: control.segmenter.idle)
    assert [level for level, told in bench.told if "(signal 9)" in told] == ["error"]


def test_cells_that_cost_two_workers_are_given_up(bench: Bench) -> None:
    control, folder = bench.workspace.prediction, bench.folder / "exported"
    control.predict("layer")
    segmenter, exporter = control.segmenter, control.exporter
    bench.until(lambda: not control.running and segmenter.idle)
    folder.mkdir()
    settings = control.segmentation.replace(threshold=0.37)
    bench.lose("cpu", lambda: control.set_segmentation(settings))
    bench.lose("cpu", lambda: exporter.export(folder, [bench.image.id]))
    bench.until(lambda: not exporter.running)
    assert ("error", "cells: its cells could not be found.") in bench.told
    assert list(folder.iterdir()) == []
    assert bench.workspace.prediction.unexported() == ["cells"]
    # who asks again has it
    exporter.export(folder, [bench.image.id])
    bench.until(lambda: not exporter.running)
    assert bench.told[-1] == ("info", f"2 files are in {folder} now.")
    assert bench.workspace.prediction.unexported() == []


def test_an_export(bench: Bench) -> None:
    control, folder = bench.workspace.prediction, bench.folder / "exported"
    folder.mkdir()
    control.predict("layer")
    bench.until(lambda: not control.running and control.segmenter.idle)

    def export() -> None:
        control.exporter.export(folder, [bench.image.id])

    bench.lose("cpu", export)
    assert not control.exporter.running
    ((level, told),) = bench.told
    assert level == "error"
    assert "(signal 9)" in told
    assert stays_in_the_run_bar(bench)
    assert bench.workspace.prediction.unexported() == ["cells"]


def test_a_process_without_work_is_told_of_by_the_workspace(bench: Bench) -> None:
    worker = bench.workspace.worker
    worker.warm_up("cpu")
    bench.until(lambda: worker.status)
    os.kill(worker.pids["cpu"], signal.SIGKILL)
    bench.until(lambda: bench.told)
    ((level, told),) = bench.told
    assert level == "error"
    assert "It starts again with the next job." in told


@pytest.mark.parametrize("how", ["removed", "layer deleted", "both"])
def test_an_image_deleted_while_its_preview_is_prepared(bench: Bench, how: str) -> None:
    """No worker is lost, but an image."""
    space, preview = bench.workspace, bench.workspace.training.preview
    begun: list[Handle] = []
    space.worker.started.connect(begun.append)
    classes = space.store.project.classes
    preview.begin(classes, ndim=2, channels=1, trained=True)
    preview.step()
    assert preview._waiting
    if how != "layer deleted":
        space.images.remove(bench.image.id)
    if how != "removed":
        space.viewer.layers.clear()
    bench.until(lambda: not preview._waiting)
    preview.step()
    assert [b.job for b in begun if how != "removed"] == []
    assert bench.told == []
