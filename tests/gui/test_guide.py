from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt

from example_models import random_model
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.jobs import PredictJob
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import u_shape
from napari_unet.gui.guide_bar import GuideBar
from napari_unet.gui.help_dialog import HelpDialog, help_text
from napari_unet.io.model_file import save_model
from napari_unet.session.guide import STEPS
from napari_unet.session.preferences import Preferences

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from fake_worker import FakeWorker
    from napari_unet.session.workspace import Workspace

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def bar(workspace: Workspace, qtbot: QtBot) -> GuideBar:
    bar = GuideBar(workspace.guide, "Annotate")
    qtbot.addWidget(bar)
    bar.show()
    return bar


def test_each_step_follows_from_what_was_done(
    workspace: Workspace, bar: GuideBar, fake: FakeWorker, tmp_path: Path
) -> None:
    assert bar.title.text() == f"1/5  {STEPS[0].title}"
    layer = workspace.viewer.add_image(np.ones((8, 10), np.uint8), name="blobs")
    workspace.guide._look()
    assert "Add image" in bar.how.text()
    image = workspace.images.add([layer])
    assert bar.title.text() == f"2/5  {STEPS[1].title}"
    # keys as they are bound
    assert "(N is the next cell)" in bar.how.text()
    annotation = workspace.annotating.layers.show(image.id)
    annotation.data_setitem(np.nonzero(np.eye(8, 10)), 2)
    annotation.data_setitem((np.array([0]), np.array([5])), 1)
    workspace.tick()
    workspace.training.changed.emit()
    assert bar.title.text() == f"3/5  {STEPS[2].title}"
    path = tmp_path / "blobs.safetensors"
    save_model(
        random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)), path
    )
    workspace.models.add(path)
    workspace.models.select(path)
    assert bar.title.text() == f"4/5  {STEPS[3].title}"
    workspace.prediction.predict("slice")
    (handle,) = fake.running(PredictJob)
    fake.predict(handle)
    fake.end(handle)
    assert bar.title.text() == f"5/5  {STEPS[4].title}"
    for results in workspace.prediction.results.values():
        results.unexported = False
    workspace.prediction.exporter.changed.emit()
    assert "done" in bar.title.text()
    # who goes on working is not told to export once more
    workspace.prediction.predict("slice")
    (handle,) = fake.running(PredictJob)
    fake.predict(handle)
    fake.end(handle)
    assert workspace.prediction.unexported()
    assert "done" in bar.title.text()


def test_a_model_of_regions_has_no_threshold_to_move(
    workspace: Workspace, bar: GuideBar, tmp_path: Path
) -> None:
    workspace.images.add([workspace.viewer.add_image(np.ones((8, 10), np.uint8))])
    for kind in ("cells", "regions"):
        model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
        card = model.card.replace(classes=(ClassInfo(name="a", kind=kind),))
        save_model(Model(card, model.weights), tmp_path / f"{kind}.safetensors")
        workspace.models.add(tmp_path / f"{kind}.safetensors")
    for kind, words in (
        ("cells", "move the threshold: it acts at once"),
        ("regions", "there is no threshold to move"),
        ("cells", "move the threshold: it acts at once"),
    ):
        workspace.models.select(tmp_path / f"{kind}.safetensors")
        assert bar.title.text() == f"4/5  {STEPS[3].title}"
        assert words in bar.how.text()


def test_it_leads_to_the_dock_of_the_step(
    workspace: Workspace, bar: GuideBar, qtbot: QtBot
) -> None:
    assert not bar.go.isVisible()
    elsewhere = GuideBar(workspace.guide, "Predict")
    qtbot.addWidget(elsewhere)
    elsewhere.show()
    asked: list[str] = []
    elsewhere.asked.connect(asked.append)
    # it only shows the dock: a button called Train would be taken for the one that does
    assert elsewhere.go.text().startswith("Go to ")
    qtbot.mouseClick(elsewhere.go, LEFT)
    assert asked == ["Annotate"]


def test_who_skips_it_sees_it_no_more_until_it_is_called(
    workspace: Workspace, bar: GuideBar, qtbot: QtBot
) -> None:
    skipped: list[bool] = []
    workspace.guide_skipped.connect(lambda: skipped.append(True))
    qtbot.mouseClick(bar.skip, LEFT)
    assert skipped == [True]
    assert not bar.isVisible()
    workspace.guide.set_shown(True)
    assert bar.isVisible()
    workspace.set_preferences(Preferences(show_guide=False))
    assert not bar.isVisible()


@pytest.mark.parametrize("section", ["Annotate", "Train", "Predict", "Words"])
def test_help_begins_at_the_dock_it_is_asked_in(qtbot: QtBot, section: str) -> None:
    assert f"\n## {section}\n" in help_text()
    dialog = HelpDialog(section)
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitExposed(dialog)
    assert dialog.text.textCursor().block().text() == section
