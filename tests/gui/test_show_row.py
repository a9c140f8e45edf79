from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.gui.main_thread import MainThread
from napari_unet.gui.show_row import ShowRow
from napari_unet.session.images.layers import find
from napari_unet.session.prediction.results import ResultLayers
from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot
    from qtpy.QtGui import QAction


@pytest.fixture
def workspace(viewer: ViewerModel) -> Iterator[Workspace]:
    """Return a workspace with an annotated image that was predicted."""
    main_thread = MainThread()
    workspace = Workspace(viewer, main_thread.post, Preferences())
    layer = viewer.add_image(np.zeros((30, 40), np.uint8), name="embryo")
    image = workspace.images.add([layer])
    workspace.annotating.layers.show(image.id)
    results = ResultLayers(
        viewer, layer, image, (ClassInfo(),), workspace.scratch, "model"
    )
    workspace.prediction.model_results._all[image.id, "model"] = results, 0.0
    workspace.prediction.results[image.id] = results
    yield workspace
    workspace.close()
    main_thread.close()


def actions(row: ShowRow) -> dict[str, QAction]:
    row.menu.aboutToShow.emit()
    return {str(action.data()): action for action in row.menu.actions()}


def test_what_is_ticked_is_shown(workspace: Workspace, qtbot: QtBot) -> None:
    row = ShowRow(workspace)
    qtbot.addWidget(row)
    row.show()
    assert not actions(row)["cells"].isEnabled()
    assert actions(row)["cells"].toolTip() == "Predict this image first."
    (results,) = workspace.prediction.results.values()
    results.claim()
    for key in ("probability", "classes", "entropy", "weights"):
        assert not actions(row)[key].isChecked()
        actions(row)[key].trigger()
        assert find(workspace.viewer, key)
        assert actions(row)[key].isChecked()
        actions(row)[key].trigger()
        assert not find(workspace.viewer, key)
    actions(row)["cells"].trigger()
    assert not find(workspace.viewer, "cells")[0].visible


def test_the_legend_names_classes_and_what_was_predicted(
    workspace: Workspace, qtbot: QtBot
) -> None:
    row = ShowRow(workspace)
    qtbot.addWidget(row)
    row.show()
    workspace.annotating.classes.rename(1, "nuclei & <debris>")
    qtbot.waitUntil(lambda: "nuclei" in row.legend.text())
    assert "nuclei&nbsp;&amp;&nbsp;&lt;debris&gt;" in row.legend.text()
    assert "background" in row.legend.text()
    assert "predicted" not in row.legend.text()
    next(iter(workspace.prediction.results.values())).claim()
    qtbot.waitUntil(lambda: "predicted" in row.legend.text())
    workspace.showing.blink()
    qtbot.waitUntil(lambda: "predicted" not in row.legend.text())


def test_many_classes_leave_the_room_to_the_page(
    workspace: Workspace, qtbot: QtBot
) -> None:
    row = ShowRow(workspace)
    qtbot.addWidget(row)
    row.show()
    row.resize(340, 40)
    for number in range(2, 25):
        workspace.annotating.classes.add(f"cells with a long name {number}")
    qtbot.waitUntil(lambda: "and 19 more classes" in row.legend.text())
    assert "cells&nbsp;wi…g&nbsp;name&nbsp;2" in row.legend.text()
    assert "cells&nbsp;with&nbsp;a&nbsp;long&nbsp;name&nbsp;24" in row.legend.toolTip()
    line = row.legend.fontMetrics().lineSpacing()
    assert row.legend.heightForWidth(row.legend.width()) < 6 * line
