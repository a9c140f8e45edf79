"""The list of runs in the Train dock, and the card of a model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QMessageBox

from fake_worker import FakeWorker
from napari_unet.core.events import MasksCompared, TrainingFinished
from napari_unet.core.jobs import CompareMasksJob
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.training.train import train
from napari_unet.gui.model_card_dialog import ModelCardDialog
from napari_unet.gui.pictures import APART, USUAL, Picture
from napari_unet.gui.predict.model_chooser import ModelChooser
from napari_unet.gui.train.runs_panel import CompareDialog, RunsPanel
from napari_unet.io.model_file import load_model, save_model
from napari_unet.io.run_folder import save_run
from napari_unet.io.trained_run import read_run, run_folder_of
from napari_unet.session.preferences import Preferences
from napari_unet.session.training.runs import differences, same_parts
from napari_unet.session.training.thumbnails import thumbnails_of
from napari_unet.session.workspace import Workspace
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot

RUNS = {"small": {"seed": 1}, "wide": {"seed": 1, "width": 6}, "other": {"seed": 5}}


@pytest.fixture(scope="module")
def finished() -> dict[str, TrainingFinished]:
    rng = np.random.default_rng(0)
    labels = np.zeros((160, 160), np.uint8)
    for number, corner in enumerate(np.ndindex(8, 8), start=1):
        y, x = (20 * n + 4 for n in corner)
        labels[y : y + 11, x : x + 11] = number
    image = (labels > 0) + rng.normal(0, 0.2, labels.shape)
    usual = Training.quick().replace(
        width=4, depth=2, patch=20, batch=1, steps=31, minutes=0.0
    )
    found = {}
    for name, changes in RUNS.items():
        settings = usual.replace(**changes)
        job = train([image], [labels], settings, kind="instances", device="cpu")
        *_, last = job
        assert isinstance(last, TrainingFinished)
        found[name] = last
    return found


@pytest.fixture
def workspace(
    viewer: ViewerModel, tmp_path: Path, finished: dict[str, TrainingFinished]
) -> Iterator[Workspace]:
    workspace = Workspace(
        viewer, lambda call: call(), Preferences(device="cpu"), tmp_path / "projects"
    )
    for age, (name, last) in enumerate(finished.items()):
        model = workspace.store.run_folder / f"{name}.safetensors"
        save_model(last.model, model)
        save_run(last, model)
        os.utime(model, (1000 - age, 1000 - age))
    workspace.models.refresh()
    yield workspace
    workspace.close()


@pytest.fixture
def panel(qtbot: QtBot, workspace: Workspace) -> RunsPanel:
    panel = RunsPanel(workspace)
    qtbot.addWidget(panel)
    panel.show()
    return panel


def click(
    qtbot: QtBot,
    panel: RunsPanel,
    row: int,
    key: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    place = panel.list.visualItemRect(panel.list.item(row)).center()
    button = Qt.MouseButton.LeftButton
    qtbot.mouseClick(panel.list.viewport(), button, key, QPoint(place))


def names(panel: RunsPanel) -> list[str]:
    return [panel.list.item(n).text().split("\n")[0] for n in range(panel.list.count())]


def test_runs_are_listed_with_what_they_reached(
    panel: RunsPanel, finished: dict[str, TrainingFinished]
) -> None:
    assert names(panel) == ["small", "wide", "other"]
    score = finished["small"].model.card.score
    assert score is not None
    line = panel.list.item(0).text().split("\n")[1]
    assert line.startswith(f"{score.words} · 1 slice · 0.")
    assert not panel.card.isEnabled()


def test_a_run_is_renamed_noted_copied_and_deleted(
    qtbot: QtBot, panel: RunsPanel, workspace: Workspace, tmp_path: Path
) -> None:
    folder = workspace.store.run_folder
    before = (folder / "wide.safetensors").read_bytes()
    click(qtbot, panel, 1)
    qtbot.keyClicks(panel.notes, "for figure 2")
    qtbot.keyClick(panel.notes, Qt.Key.Key_Return)
    assert read_run(folder / "wide.run").notes == "for figure 2"
    workspace.models.select(folder / "wide.safetensors")
    workspace.models.note_use()
    changed = workspace.prediction.segmentation.replace(threshold=0.35)
    workspace.prediction.set_segmentation(changed)
    panel.rename_to(panel.chosen[0], "figure 2")
    assert names(panel) == ["small", "figure 2", "other"]
    # it stays in use, with its settings
    assert workspace.models.selected == folder / "figure 2.safetensors"
    assert workspace.prediction.segmentation == changed
    assert (folder / "figure 2.safetensors").read_bytes() == before
    assert not (folder / "wide.run").exists()
    assert read_run(folder / "figure 2.run").model == "figure 2.safetensors"
    assert workspace.models.used_last == folder / "figure 2.safetensors"
    click(qtbot, panel, 1)
    assert panel.notes.text() == "for figure 2"
    sentences: list[str] = []
    workspace.message.connect(lambda _, sentence: sentences.append(sentence))
    panel.rename_to(panel.chosen[0], "other")
    assert "There is a model other already." in sentences[-1]
    panel.rename_to(panel.chosen[0], "a/b")
    assert "is no name of a file" in sentences[-1]
    panel.export_to(panel.chosen[0], str(tmp_path))
    assert (tmp_path / "figure 2.safetensors").read_bytes() == before
    assert read_run(tmp_path / "figure 2.run").notes == "for figure 2"
    panel.remove(panel.chosen[0])
    assert names(panel) == ["small", "other"]
    assert [f for f in folder.iterdir() if "figure" in f.name] == []
    assert workspace.models.used_last is None


def test_a_training_that_ends_moves_no_choice_to_another_run(
    qtbot: QtBot,
    panel: RunsPanel,
    workspace: Workspace,
    finished: dict[str, TrainingFinished],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[QMessageBox] = []
    monkeypatch.setattr(QMessageBox, "open", lambda box: asked.append(box))
    click(qtbot, panel, 0)
    qtbot.keyClicks(panel.notes, "for figure")
    panel.delete.click()
    folder = workspace.store.run_folder
    save_model(finished["other"].model, folder / "new.safetensors")
    save_run(finished["other"], folder / "new.safetensors")
    workspace.runs.refresh()
    assert names(panel) == ["new", "small", "wide", "other"]
    assert [run.name for run in panel.chosen] == ["small"]
    # what is being typed stays
    assert panel.notes.text() == "for figure"
    qtbot.keyClick(panel.notes, Qt.Key.Key_Return)
    assert read_run(folder / "small.run").notes == "for figure"
    asked[0].accepted.emit()
    assert names(panel) == ["new", "wide", "other"]


def test_a_run_of_which_a_file_is_open_keeps_its_name(
    qtbot: QtBot,
    panel: RunsPanel,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Windows no folder is renamed while another program reads in it."""
    replace = os.replace

    def busy(source: Path, target: Path) -> None:
        if source.is_dir():
            raise PermissionError(13, "Access is denied", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    sentences: list[str] = []
    workspace.message.connect(lambda _, sentence: sentences.append(sentence))
    click(qtbot, panel, 1)
    panel.rename_to(panel.chosen[0], "figure 2")
    assert "writing there is not permitted" in sentences[-1]
    assert names(panel) == ["small", "wide", "other"]
    folder = workspace.store.run_folder
    assert read_run(folder / "wide.run").model == "wide.safetensors"
    assert not [f for f in folder.iterdir() if "figure" in f.name]


def test_two_runs_are_compared(
    qtbot: QtBot, panel: RunsPanel, workspace: Workspace
) -> None:
    click(qtbot, panel, 0)
    click(qtbot, panel, 1, Qt.KeyboardModifier.ControlModifier)
    assert panel.compare.isEnabled()
    qtbot.mouseClick(panel.compare, Qt.MouseButton.LeftButton)
    dialog = panel.findChild(CompareDialog)
    shown = {
        dialog.table.item(n, 0).text(): dialog.table.item(n, 2).text()
        for n in range(dialog.table.rowCount())
    }
    assert shown["Width"] == "4"
    assert "Depth" not in shown
    assert dialog.judged.text().startswith("Both were judged by the same")
    assert dialog.masks.text() == "Open an image to see the masks of both."
    dialog.reject()
    small, wide, other = workspace.runs.entries
    assert ("Width", "4", "6") in differences(small, wide)
    assert ("Seed", "1", "5") in differences(small, other)
    assert not same_parts(small.card, other.card)


def test_masks_of_two_runs_are_seen_side_by_side(
    qtbot: QtBot,
    panel: RunsPanel,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeWorker()
    monkeypatch.setattr(workspace.worker, "submit", fake.submit)
    layer = workspace.viewer.add_image(np.zeros((600, 40), np.uint8))
    workspace.images.add([layer])
    click(qtbot, panel, 0)
    click(qtbot, panel, 1, Qt.KeyboardModifier.ControlModifier)
    qtbot.mouseClick(panel.compare, Qt.MouseButton.LeftButton)
    dialog = panel.findChild(CompareDialog)
    until(lambda: fake.running(CompareMasksJob))
    (handle,) = fake.running(CompareMasksJob)
    # the earlier run, which is lower in the list, stands on the left
    folder = workspace.store.run_folder
    assert handle.job.models == tuple(
        str(folder / f"{name}.safetensors") for name in ("wide", "small")
    )
    assert not dialog.pictures[0].isVisible()
    # as large as the picture is shown
    one = np.repeat([[0, 1, 0, 2]], 260, axis=0).repeat(65, axis=1)
    other = np.where(one == 2, 0, one)
    none = np.zeros(0, int)
    fake.emit(
        handle,
        MasksCompared(
            np.zeros(one.shape, np.uint8), (one, other), (np.array([2]), none), True
        ),
    )
    fake.end(handle)
    assert [c.text() for c in dialog.counts] == [
        "2 cells, 1 of them (orange) not on the other side.",
        "1 cell.",
    ]
    shown = dialog.pictures[0].pixmap().toImage()
    colours = {shown.pixelColor(x, 100).name() for x in range(shown.width())}
    assert {USUAL, APART} <= colours
    dialog.reject()


def test_the_card_shows_what_was_learnt_from(
    qtbot: QtBot, panel: RunsPanel, workspace: Workspace
) -> None:
    click(qtbot, panel, 0)
    qtbot.mouseClick(panel.card, Qt.MouseButton.LeftButton)
    dialog = panel.findChild(ModelCardDialog)
    qtbot.waitUntil(dialog.pictures.isVisible)
    (picture,) = dialog.pictures.findChildren(Picture)
    assert picture.accessibleName() == "Learnt from: image"
    dialog.reject()
    run = workspace.runs.entries[0]
    (thumbnail,) = thumbnails_of(run.path, run.card)
    # 64 squares in 160 pixels, cut to them and a margin
    assert thumbnail.grey.shape == thumbnail.labels.shape == (160, 160)
    assert len(np.unique(thumbnail.labels)) == 1 + 64
    inside = thumbnail.labels > 0
    assert thumbnail.grey[inside].mean() > 2 * thumbnail.grey[~inside].mean()


def test_the_card_opens_from_both_docks(
    qtbot: QtBot, panel: RunsPanel, workspace: Workspace
) -> None:
    chooser = ModelChooser(
        workspace.models,
        workspace.foreign_models,
        workspace.prediction.starter_choice,
    )
    qtbot.addWidget(chooser)
    click(qtbot, panel, 0)
    workspace.models.select(workspace.store.run_folder / "small.safetensors")
    texts = []
    for parent, button in ((panel, panel.card), (chooser, chooser.card)):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        dialog = parent.findChild(ModelCardDialog)
        qtbot.mouseClick(dialog.copy, Qt.MouseButton.LeftButton)
        texts.append(QApplication.clipboard().text())
        assert dialog.rows["Trained on"].text() == "image"
        dialog.reject()
    assert texts[0] == texts[1]
    assert "64 objects were annotated" in texts[0]


def test_runs_move_with_a_project_that_is_saved_as_a_folder(
    panel: RunsPanel, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.store.save_as(tmp_path / "saved")
    model = tmp_path / "saved" / "models" / "small.safetensors"
    record = read_run(run_folder_of(model))
    assert record.card.steps == load_model(model).card.steps == 31


def test_what_was_kept_of_another_model_of_the_name_is_not_taken(
    panel: RunsPanel, workspace: Workspace, finished: dict[str, TrainingFinished]
) -> None:
    save_model(finished["other"].model, workspace.store.run_folder / "wide.safetensors")
    workspace.runs.refresh()
    run = next(r for r in workspace.runs.entries if r.name == "wide")
    assert run.record is None
    assert "min" not in run.line
