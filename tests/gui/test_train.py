"""The Train dock's page against a real project; nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QComboBox, QScrollArea, QStyleOptionViewItem

from fake_worker import FakeProcess
from napari_unet.core.events import (
    ModelComparison,
    ModelSaved,
    NetworkSurveyed,
    TrainingPlanned,
)
from napari_unet.core.jobs import PlanJob, SurveyJob
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.training.decision import Decision
from napari_unet.core.training.training_settings import Training
from napari_unet.gui.train.page import TrainPage
from napari_unet.io.model_file import save_model
from napari_unet.session.annotating.edits import Edit
from napari_unet.session.preferences import Preferences
from napari_unet.session.training.control import TrainingControl
from napari_unet.session.training.run_record import RunRecord
from napari_unet.session.workspace import Workspace
from waiting import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot


@pytest.fixture
def workspace(viewer: ViewerModel, tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(
        viewer, lambda call: call(), Preferences(device="cpu"), tmp_path / "projects"
    )
    yield workspace
    workspace.close()


@pytest.fixture
def page(qtbot: QtBot, workspace: Workspace) -> TrainPage:
    page = TrainPage(workspace)
    qtbot.addWidget(page)
    return page


def add_image(workspace: Workspace, *shape: int) -> str:
    layer = workspace.viewer.add_image(np.zeros(shape, np.uint8), name="nuclei")
    return workspace.images.add([layer]).id


def choose(box: Any, data: object) -> None:
    """Choose an item as a person would."""
    index = box.findData(data)
    box.setCurrentIndex(index)
    box.activated.emit(index)


def a_model(path: Path) -> ModelCard:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
    card = ModelCard(architecture=table, classes=(), training=Training())
    save_model(Model(card, {"w": np.zeros(1, np.float32)}), path)
    return card


def settings(workspace: Workspace) -> Training:
    return workspace.training.plan.settings


def test_without_annotation_the_page_says_what_to_do(
    page: TrainPage, workspace: Workspace
) -> None:
    add_image(workspace, 40, 50)
    assert page.problem.text() == (
        "Paint a few cells and some background in the Annotate dock, then press Train."
    )
    assert page.problem.level == "info"
    assert not page.result.isVisibleTo(page)


def test_what_will_be_trained_on_is_said_in_a_line(
    page: TrainPage, workspace: Workspace
) -> None:
    labels = workspace.annotating.layers.show(add_image(workspace, 40, 50))
    painted = np.zeros((40, 50), labels.data.dtype)
    painted[:5], painted[10:15], painted[20:25] = 1, 2, 3
    labels.data = painted
    workspace.annotating.object_index.update_all(DEADLINE)
    page._show_state()
    assert page.summary.text() == "1 slice of 1 image: 2 cells, background in 1 slice."
    assert page.problem.text() == ""
    other = workspace.viewer.add_image(np.ones((40, 50), np.uint8), name="other")
    image = workspace.images.add([other])
    workspace.annotating.layers.show(image.id).data = painted
    workspace.images.set_use_for_training(image.id, False)
    page._show_state()
    assert page.summary.text().endswith("Not learnt from: other (not ticked).")


def test_presets_change_the_recipe_and_are_explained(
    page: TrainPage, workspace: Workspace
) -> None:
    choose(page.recipe.preset, "paper")
    assert settings(workspace) == Training.paper()
    assert "paper" in page.recipe.explanation.text()
    assert page.recipe.form.value() == Training.paper()
    choose(page.recipe.preset, "quick")
    assert settings(workspace) == Training.quick()


def test_volumes_take_their_own_recipe_and_keep_the_budget(
    page: TrainPage, workspace: Workspace
) -> None:
    page.recipe.budget.setValue(7)
    choose(page.recipe.images, 3)
    assert settings(workspace) == Training.quick(3).replace(minutes=7.0)
    choose(page.recipe.images, 2)
    assert settings(workspace) == Training.quick().replace(minutes=7.0)


def test_volumes_are_offered_only_where_there_is_a_z_axis(
    page: TrainPage, workspace: Workspace
) -> None:
    item = page.recipe.images.model().item(1)
    tip = Qt.ItemDataRole.ToolTipRole
    add_image(workspace, 40, 50)
    assert not item.isEnabled()
    assert "no image" in page.recipe.images.itemData(1, tip).lower()
    layer = workspace.viewer.add_image(np.zeros((9, 40, 50), np.uint8))
    workspace.images.add([layer], "zyx")
    assert item.isEnabled()
    assert not page.recipe.images.itemData(1, tip)


def test_the_budget_is_in_minutes_or_in_steps(
    page: TrainPage, workspace: Workspace
) -> None:
    recipe = page.recipe
    recipe.budget.setValue(2.5)
    assert (settings(workspace).minutes, settings(workspace).steps) == (2.5, 0)
    choose(recipe.unit, "steps")
    assert (settings(workspace).minutes, settings(workspace).steps) == (0, 2000)
    recipe.budget.setValue(300)
    assert settings(workspace).steps == 300
    choose(recipe.unit, "minutes")
    assert (settings(workspace).minutes, settings(workspace).steps) == (2.5, 0)
    assert recipe.budget.value() == 2.5


def test_advanced_settings_reach_the_project_and_back(
    page: TrainPage, workspace: Workspace
) -> None:
    form = page.recipe.form
    assert not page.recipe.advanced.button.isChecked()
    form.setValue(form.value().replace(batch=9))
    assert settings(workspace).batch == 9
    workspace.training.plan.set(training=settings(workspace).replace(patch=44))
    assert form.value().patch == 44
    for name in ("preset", "network", "ndim", "steps", "minutes"):
        with pytest.raises(KeyError):
            form.widget(name)


def test_training_starts_from_scratch_the_last_run_or_a_model(
    page: TrainPage, workspace: Workspace, tmp_path: Path
) -> None:
    box = page.recipe.start
    assert box.currentText() == "Scratch"
    choose(box, "last")
    assert workspace.training.plan.start_from == "last"
    path = tmp_path / "a very long name of a model that would widen it.safetensors"
    a_model(path)
    workspace.models.add(path)
    choose(box, str(path))
    assert workspace.training.plan.start_from == str(path)
    path.unlink()
    workspace.models.refresh()
    assert box.currentText() == f"{path} (not found)"


def test_the_preview_can_be_switched_off_and_shows_when_it_is(
    page: TrainPage, workspace: Workspace
) -> None:
    assert page.preview.isChecked()
    page.preview.click()
    assert not workspace.training.preview.enabled
    workspace.training.preview.set_enabled(True)
    assert page.preview.isChecked()


def test_an_interrupted_training_is_offered_or_forgotten(
    qtbot: QtBot, workspace: Workspace, tmp_path: Path
) -> None:
    folder, image = workspace.store.run_folder, add_image(workspace, 40, 50)
    labels = workspace.annotating.layers.show(image)
    labels.data = np.ones((40, 50), labels.data.dtype)
    record = RunRecord(
        name="nuclei 2026-11-21 14.03",
        settings=Training(minutes=3),
        images=(image,),
        places=(((0, 0),),),
    )
    record.write(folder)
    record.checkpoint(folder).touch()
    workspace.training.close()
    workspace.training = TrainingControl(workspace.session)
    page = TrainPage(workspace)
    qtbot.addWidget(page)
    assert page.interrupted.text() == (
        "The training of “nuclei 2026-11-21 14.03” was interrupted: press Train to go "
        "on with it."
    )
    assert page.anew.isVisibleTo(page)
    assert not page.go_on.isVisibleTo(page)
    # what is shown is what Train does, and nothing else can be chosen
    assert page.recipe.budget.value() == 3
    boxes = (page.recipe.preset, page.recipe.start, page.recipe.budget)
    for box in boxes:
        assert not box.isEnabled()
        assert "start over" in box.toolTip()
    workspace.images.set_use_for_training(image, False)
    assert "on other images" in page.interrupted.text()
    assert page.go_on.isVisibleTo(page)
    assert page.go_on.isEnabled()
    assert all(box.isEnabled() for box in boxes)
    assert page.recipe.budget.value() == workspace.training.plan.settings.minutes
    workspace.images.set_use_for_training(image, True)
    assert not any(box.isEnabled() for box in boxes)
    page.anew.click()
    assert all(box.isEnabled() for box in boxes)
    assert page.interrupted.text() == ""
    assert not page.anew.isVisibleTo(page)
    assert not record.checkpoint(folder).exists()


def test_a_new_model_is_chosen_for_predictions(
    page: TrainPage, workspace: Workspace
) -> None:
    path = workspace.store.run_folder / "nuclei.safetensors"
    card = a_model(path)
    workspace.training.finished.emit(ModelSaved(str(path), card, 30, 1.0))
    assert workspace.models.selected == path
    assert page.model.text() == "Saved as “nuclei”, chosen in the Predict dock."
    assert page.result.isVisibleTo(page)


@pytest.mark.parametrize(
    ("outcome", "level"), [("better", "info"), ("worse", "warning")]
)
def test_the_verdict_is_told_in_words(
    page: TrainPage, outcome: str, level: str
) -> None:
    page._show_comparison(ModelComparison(outcome, "IoU 0.8 against 0.7."))
    assert page.comparison.text() == "IoU 0.8 against 0.7."
    assert page.comparison.level == level
    page._show_comparison(None)
    assert page.comparison.text() == ""


def test_nothing_of_the_recipe_can_be_changed_while_it_is_trained(
    page: TrainPage, workspace: Workspace
) -> None:
    workspace.training._enter("training")
    assert not page.recipe.budget.isEnabled()
    assert "when the training has ended" in page.recipe.budget.toolTip()
    workspace.training._enter("idle")
    assert page.recipe.budget.isEnabled()


def test_the_page_fits_a_narrow_dock(
    qtbot: QtBot, page: TrainPage, workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / f"{'long ' * 15}.safetensors"
    a_model(path)
    workspace.models.add(path)
    page.recipe.advanced.button.setChecked(True)
    area = QScrollArea()
    qtbot.addWidget(area)
    area.setWidgetResizable(True)
    area.setWidget(page)
    area.resize(320, 600)
    area.show()
    assert page.minimumSizeHint().width() <= 300
    area.takeWidget()


def test_the_curve_takes_room_once_there_is_one(
    page: TrainPage, workspace: Workspace
) -> None:
    assert not page.plot.isVisibleTo(page)
    workspace.training.progress.curve.points.append((1, 0.5, 0.7))
    workspace.training.curve_changed.emit()
    assert page.plot.isVisibleTo(page)


def test_every_control_has_a_tooltip(page: TrainPage) -> None:
    controls = [
        page.anew,
        page.preview,
        page.plot,
        page.recipe.start,
        page.recipe.preset,
        page.recipe.images,
        page.recipe.network,
        page.recipe.budget,
        page.recipe.unit,
        page.recipe.advanced.button,
    ]
    for control in controls:
        assert control.toolTip(), control


def test_a_page_that_was_closed_is_told_nothing(
    qtbot: QtBot, workspace: Workspace
) -> None:
    page = TrainPage(workspace)
    qtbot.addWidget(page)
    with qtbot.waitSignal(page.destroyed):
        page.deleteLater()
    workspace.training.changed.emit()
    workspace.training.curve_changed.emit()
    workspace.training.plan.set(training=Training.paper())


def test_networks_are_listed_with_what_they_are_for_and_what_they_cost(
    page: TrainPage, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.worker, "_start", FakeProcess)
    unet = NETWORKS["unet"]
    other = replace(unet, title="Other net", use="For tests.", recipe={2: {"depth": 1}})
    monkeypatch.setitem(NETWORKS, "other", other)  # type: ignore[arg-type]
    solid = replace(unet, title="Solid net", ndims=(3,))
    monkeypatch.setitem(NETWORKS, "solid", solid)  # type: ignore[arg-type]
    add_image(workspace, 40, 50)
    page._show_state()
    box = page.recipe.network
    assert box.currentText() == unet.title
    assert page.recipe.use.text() == unet.use
    row = box.findData("solid")
    assert not box.model().item(row).isEnabled()
    assert lines(box, row)[1] == "Solid net is for volumes (3-D) alone."
    choose(box, "other")
    assert settings(workspace) == Training.quick().replace(network="other", depth=1)
    assert page.recipe.use.text() == "For tests."
    # another preset, or volumes, are of the same network
    choose(page.recipe.preset, "accurate")
    assert settings(workspace) == Training.accurate().replace(network="other", depth=1)
    choose(page.recipe.preset, "quick")
    choose(box, "unet")
    assert settings(workspace) == Training.quick()
    box.showPopup()
    box.hidePopup()
    handle = workspace.worker._handles[max(workspace.worker._handles)]
    assert isinstance(handle.job, SurveyJob)
    handle.event.emit(NetworkSurveyed(handle.job.candidates[0], 0.84, 2 * 10**9))
    cost = "0.8 s per megapixel here, 2.0 GB to train"
    assert lines(box, 0) == [f"{unet.title} · {cost}", unet.use]
    assert page.recipe.use.text() == f"{unet.use} {cost}."
    refused = NetworkSurveyed(handle.job.candidates[0], problem="It is too large.")
    handle.event.emit(refused)
    assert page.recipe.use.text() == "It is too large."


def lines(box: QComboBox, row: int) -> list[str]:
    """What the list shows of a network."""
    option = QStyleOptionViewItem()
    box.itemDelegate().initStyleOption(option, box.model().index(row, 0))
    return str(option.text).split("\u2028")


@pytest.mark.parametrize(
    ("text", "base"), [("#f0f1f2", "#424a54"), ("#1e1e21", "#c5c3c1")]
)
def test_why_a_network_cannot_be_had_can_be_read(
    page: TrainPage, text: str, base: str
) -> None:
    # napari's grey, in the list of its dark and light theme
    faint = QColor(text)
    faint.setAlpha(90)
    option = QStyleOptionViewItem()
    group, role = QPalette.ColorGroup.Disabled, QPalette.ColorRole
    option.palette.setColor(role.Text, QColor(text))
    option.palette.setColor(role.Base, QColor(base))
    option.palette.setColor(group, role.Text, faint)
    box: Any = page.recipe.network
    box.model().item(0).setEnabled(False)
    box.itemDelegate().initStyleOption(option, box.model().index(0, 0))
    ink, paper = option.palette.color(group, role.Text), QColor(base)
    assert ink.alpha() == 255
    dark, light = sorted(luminance(colour) for colour in (ink, paper))
    # what WCAG 2.1 asks for text (1.4.3)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: QColor) -> float:
    """Relative luminance of WCAG 2.1, 0 for black to 1 for white."""
    parts = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in colour.getRgbF()[:3]
    ]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def test_the_network_of_a_model_to_start_from_is_kept(
    page: TrainPage, workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    a_model(path)
    workspace.models.add(path)
    choose(page.recipe.start, str(path))
    assert not page.recipe.network.isEnabled()
    assert "keeps the network of that model" in page.recipe.network.toolTip()
    width = page.recipe.form.widget("width")
    assert not width.isEnabled()
    assert "keeps the network of that model" in width.toolTip()
    choose(page.recipe.start, None)
    assert page.recipe.network.isEnabled()
    assert width.isEnabled()


def test_what_a_network_leaves_no_choice_of_is_grey(
    page: TrainPage, workspace: Workspace
) -> None:
    depth, encoder = (page.recipe.form.widget(name) for name in ("depth", "encoder"))
    assert (depth.isEnabled(), encoder.isEnabled()) == (True, False)
    assert "U-Net leaves no choice: none." in encoder.toolTip()
    choose(page.recipe.network, "unetr")
    assert (depth.isEnabled(), encoder.isEnabled()) == (False, False)
    assert "UNETR leaves no choice: 4." in depth.toolTip()
    norm = page.recipe.form.widget("norm")
    assert (norm.currentText(), norm.isEnabled()) == ("Instance", False)
    choose(page.recipe.network, "ternaus")
    assert (depth.isEnabled(), encoder.isEnabled()) == (True, True)
    page.recipe.form.valueChanged.emit(settings(workspace).replace(encoder="imagenet"))
    width = page.recipe.form.widget("width")
    assert (width.value(), width.isEnabled()) == (64, False)


def paint(workspace: Workspace) -> None:
    labels = workspace.annotating.layers.show(add_image(workspace, 64, 80))
    painted = np.ones((64, 80), labels.data.dtype)
    painted[10:20, 10:20], painted[40:50, 40:50] = 2, 3
    labels.data = painted
    workspace.annotating.object_index.update_all(DEADLINE)


def planned(workspace: Workspace, *decisions: Decision) -> None:
    """Let the worker say what it chose."""
    handle = workspace.worker._handles[max(workspace.worker._handles)]
    assert isinstance(handle.job, PlanJob)
    values = {d.field: d.value for d in decisions}
    chosen = handle.job.settings.replace(**values, decisions=decisions)
    handle.event.emit(TrainingPlanned(chosen))


def told(page: TrainPage) -> list[tuple[str, str]]:
    rows = page.recipe.decisions.rows
    return [(label.text(), reason.text()) for label, reason in rows]


PATCH = Decision(
    field="patch",
    value=64,
    reason="The smallest image has 64 pixels.",
    alternatives=("100",),
)
IMAGES = Decision(field="ndim", value=2, reason="There are 5 minutes.")
RATE = Decision(field="learning_rate", value=0.002, reason="Of 32 channels.")


def test_automatic_says_what_it_chose_and_why(
    page: TrainPage, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.worker, "_start", FakeProcess)
    paint(workspace)
    recipe = page.recipe
    assert not recipe.why.isVisibleTo(page)
    choose(recipe.preset, "accurate")
    recipe.budget.setValue(7)
    choose(recipe.preset, "auto")
    assert settings(workspace) == Training.automatic().replace(minutes=7)
    assert recipe.why.isVisibleTo(page)
    assert recipe.decisions.note.text() == "Being chosen …"
    planned(workspace, IMAGES, RATE, PATCH)
    assert told(page) == [
        ("Images: 2-D slices", "There are 5 minutes."),
        ("Learning rate: 0.002", "Of 32 channels."),
        ("Patch size: 64 px", "The smallest image has 64 pixels."),
    ]
    assert recipe.decisions.rows[2][0].toolTip() == "In place of 100"
    assert recipe.decisions.note.text() == ""
    # what was chosen is in the form, too
    assert recipe.form.value().patch == 64
    stroke = Edit(0, 0, (slice(0, 4), slice(0, 4)))
    workspace.annotating.edited.emit(workspace.images.current.id, stroke)  # type: ignore[union-attr]
    assert recipe.decisions.note.text() == "Chosen anew when Train is pressed."
    choose(recipe.preset, "quick")
    assert not recipe.why.isVisibleTo(page)
    assert not recipe.form.value().decisions


def test_what_is_changed_under_automatic_stays_as_it_is(
    page: TrainPage, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.worker, "_start", FakeProcess)
    paint(workspace)
    recipe = page.recipe
    choose(recipe.preset, "auto")
    planned(workspace, IMAGES, PATCH)
    recipe.form.widget("batch").setValue(3)  # type: ignore[attr-defined]
    # nothing but this is by hand, and the rest is planned anew
    assert settings(workspace) == Training.automatic(batch=3)
    assert recipe.decisions.note.text().startswith("Being chosen … As you chose it: ")
    planned(workspace, IMAGES, PATCH)
    assert recipe.decisions.note.text() == (
        "As you chose it: Patches per step. Choose Automatic to undo."
    )
    assert (recipe.form.value().batch, recipe.form.value().patch) == (3, 64)
    choose(recipe.images, 2)
    assert settings(workspace) == Training.automatic(ndim=2)
    choose(recipe.preset, "auto")
    assert settings(workspace) == Training.automatic()


def test_both_ways_can_be_tried_under_automatic_alone(
    page: TrainPage, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.worker, "_start", FakeProcess)
    paint(workspace)
    recipe = page.recipe
    assert not recipe.both.isVisibleTo(page)
    choose(recipe.preset, "auto")
    assert recipe.both.isVisibleTo(page)
    recipe.both.setChecked(True)
    assert settings(workspace) == Training.automatic(try_both=True)
    recipe.budget.setValue(9)
    assert settings(workspace).try_both
    recipe.both.setChecked(False)
    assert not settings(workspace).try_both
    recipe.both.setChecked(True)
    choose(recipe.preset, "accurate")
    assert not recipe.both.isVisibleTo(page)
    assert not recipe.both.isChecked()


def test_several_networks_are_asked_for_in_the_form(
    page: TrainPage, workspace: Workspace
) -> None:
    page.recipe.form.widget("folds").setValue(3)  # type: ignore[attr-defined]
    assert settings(workspace).folds == 3


def test_automatic_without_annotation_is_chosen_when_train_is_pressed(
    page: TrainPage, workspace: Workspace
) -> None:
    add_image(workspace, 40, 50)
    choose(page.recipe.preset, "auto")
    assert page.recipe.decisions.note.text() == "Chosen when Train is pressed."
    assert not told(page)


def test_either_both_ways_are_tried_or_several_networks_are_joined(
    page: TrainPage, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.worker, "_start", FakeProcess)
    paint(workspace)
    recipe = page.recipe
    choose(recipe.preset, "auto")
    folds: Any = recipe.form.widget("folds")
    folds.setValue(3)
    assert settings(workspace).folds == 3
    assert not recipe.both.isEnabled()
    assert "set Networks to 1" in recipe.both.toolTip()
    folds.setValue(1)
    recipe.both.click()
    assert settings(workspace).try_both
    assert not folds.isEnabled()
    recipe.both.click()
    assert folds.isEnabled()
