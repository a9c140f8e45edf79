"""The dialog of the pixel size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QWidget

from napari_unet.gui.annotate.image_panel import ImagePanel
from napari_unet.gui.annotate.pixel_size_dialog import PixelSizeDialog
from napari_unet.session.images.pixel_size import set_pixel_size

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.workspace import Workspace


@pytest.fixture
def image(workspace: Workspace, viewer: ViewerModel) -> ProjectImage:
    layer = viewer.add_image(np.zeros((3, 8, 10), np.uint8), name="embryo")
    return workspace.images.add([layer], "zyx")


@pytest.fixture
def parent(qtbot: QtBot) -> QWidget:
    parent = QWidget()
    qtbot.addWidget(parent)
    return parent


def opened(workspace: Workspace, parent: QWidget, qtbot: QtBot) -> PixelSizeDialog:
    (image,) = workspace.store.project.images
    dialog = PixelSizeDialog(workspace, image, parent)
    dialog.show()
    qtbot.waitExposed(dialog)
    return dialog


def spacing(workspace: Workspace) -> tuple[float, ...] | None:
    return workspace.store.project.images[0].spacing_um


@pytest.mark.usefixtures("image")
def test_a_number_is_typed_where_unknown_stands(
    workspace: Workspace, parent: QWidget, qtbot: QtBot
) -> None:
    dialog = opened(workspace, parent, qtbot)
    line = dialog.pixel.lineEdit()
    assert line.text() == "unknown"
    # into the middle of the word
    place = QPoint(line.fontMetrics().horizontalAdvance("unk"), line.height() // 2)
    qtbot.mouseClick(line, Qt.MouseButton.LeftButton, pos=place)
    qtbot.keyClicks(line, "0.5")
    # the box is not left before: buttons take no focus on Macs
    dialog.accept()
    assert spacing(workspace) == (0.5, 0.5)


@pytest.mark.usefixtures("image")
def test_a_distance_of_slices_alone_is_not_lost_silently(
    workspace: Workspace, parent: QWidget, qtbot: QtBot
) -> None:
    dialog = opened(workspace, parent, qtbot)
    dialog.slice.setValue(2)
    before = dialog.pixel.height(), dialog.height()
    dialog.accept()
    assert dialog.isVisible()
    # the sentence has room of its own
    qtbot.waitUntil(lambda: dialog.height() > before[1])
    qtbot.waitUntil(lambda: dialog.pixel.height() == before[0])
    assert dialog.problem.text() == "Give the size of a pixel as well, or 0 everywhere."
    dialog.pixel.setValue(0.5)
    dialog.accept()
    assert not dialog.isVisible()
    assert spacing(workspace) == (2, 0.5, 0.5)
    # and both are taken back
    dialog = opened(workspace, parent, qtbot)
    dialog.pixel.setValue(0)
    dialog.slice.setValue(0)
    dialog.accept()
    assert spacing(workspace) is None


def test_who_wants_the_scale_bar_does_not_change_the_size(
    workspace: Workspace, image: ProjectImage, parent: QWidget, qtbot: QtBot
) -> None:
    # pixels that are not square, with more digits than are shown
    exact = (1 / 3, 0.1625 + 1e-13, 0.325 + 1e-13)
    set_pixel_size(workspace.store, image.id, exact)
    dialog = opened(workspace, parent, qtbot)
    assert dialog.height_.isVisible()
    assert dialog.pixel.text() == "0.325"
    dialog.bar.setChecked(True)
    dialog.accept()
    assert workspace.scale_bar.shown
    assert spacing(workspace) == exact
    dialog = opened(workspace, parent, qtbot)
    dialog.height_.setValue(0.2)
    dialog.accept()
    changed = spacing(workspace)
    assert changed is not None
    assert changed[1:] == (0.2, 0.325)


def test_images_stay_side_by_side_and_the_button_says_so(
    workspace: Workspace, viewer: ViewerModel, qtbot: QtBot
) -> None:
    for number in range(2):
        pixels = np.full((8, 10), number, np.uint8)
        image = workspace.images.add([viewer.add_image(pixels, name=f"{number}")])
        set_pixel_size(workspace.store, image.id, (0.5, 0.5))
    panel = ImagePanel(workspace)
    qtbot.addWidget(panel)
    panel.show()
    qtbot.mouseClick(panel.side_by_side, Qt.MouseButton.LeftButton)
    workspace.scale_bar.set_shown(True)
    assert workspace.side_by_side.shown
    assert panel.side_by_side.isChecked()
    qtbot.mouseClick(panel.side_by_side, Qt.MouseButton.LeftButton)
    assert not workspace.side_by_side.shown
