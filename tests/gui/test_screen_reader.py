"""Every control can be reached by the Tab key and has a name that can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QComboBox, QLabel, QPushButton, QWidget

from napari_unet.gui.annotate.class_panel import ClassPanel
from napari_unet.gui.annotate.image_panel import ImagePanel
from napari_unet.gui.annotate.offer_banner import OfferBanner
from napari_unet.gui.annotate.page import AnnotatePage
from napari_unet.gui.docks import AnnotateDock
from napari_unet.gui.main_thread import MainThread
from napari_unet.gui.predict.page import PredictPage
from napari_unet.gui.run_bar import RunBar
from napari_unet.gui.screen_reader import Namer, controls, spoken_name
from napari_unet.gui.train.page import TrainPage
from napari_unet.gui.widgets import column
from napari_unet.gui.workspaces import host_of
from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot


@pytest.fixture
def workspace(viewer: ViewerModel, qtbot: QtBot) -> Iterator[Workspace]:
    main_thread = MainThread()
    workspace = Workspace(viewer, main_thread.post, Preferences())
    workspace.images.add([viewer.add_image(np.zeros((3, 64, 64)), name="stack")])
    yield workspace
    workspace.close()
    main_thread.close()


@pytest.mark.parametrize("part", [AnnotatePage, TrainPage, PredictPage, RunBar])
def test_each_control_of_the_docks_has_a_name(
    part: Callable[[Workspace], QWidget], workspace: Workspace, qtbot: QtBot
) -> None:
    page = part(workspace)
    qtbot.addWidget(page)
    Namer(page, page)
    found = controls(page)
    assert found
    nameless = [_whereabouts(c) for c in found if not spoken_name(c)]
    assert not nameless


def test_names_are_the_text_the_label_or_the_tooltip(qtbot: QtBot) -> None:
    page = QWidget()
    qtbot.addWidget(page)
    button, labelled, bare = QPushButton("Train"), QComboBox(), QComboBox()
    label = QLabel("Class")
    label.setBuddy(labelled)
    bare.setToolTip("Noise that is alike along rows: cameras have it.")
    column(page, button, label, labelled, bare)
    Namer(page, page)
    names = [spoken_name(one) for one in (button, labelled, bare)]
    assert names == ["Train", "Class", "Noise that is alike along rows"]


def test_what_comes_later_is_named_too(qtbot: QtBot) -> None:
    page = QWidget()
    qtbot.addWidget(page)
    layout = column(page)
    Namer(page, page)
    later = QComboBox()
    later.setToolTip("Axis of the noise.")
    layout.addWidget(later)
    QApplication.sendEvent(page, QEvent(QEvent.Type.LayoutRequest))
    qtbot.waitUntil(lambda: spoken_name(later) == "Axis of the noise")


def _whereabouts(control: QWidget) -> str:
    """Say what a control lies in, for whoever reads the failure."""
    kinds, widget = [], control
    while widget is not None:
        kinds.append(type(widget).__name__)
        widget = widget.parentWidget()
    return " in ".join(kinds[:5])


def test_the_tab_key_goes_through_a_dock_from_top_to_bottom(
    viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    dock = AnnotateDock(viewer)
    qtbot.addWidget(dock)
    dock._fill()
    page = dock._scroll.widget()
    (images,) = page.findChildren(ImagePanel)
    (offer,) = page.findChildren(OfferBanner)
    (panel,) = page.findChildren(ClassPanel)

    def order() -> list[QWidget]:
        reached = _chain(dock._scroll)
        assert len(reached) == len(controls(dock)) - 1
        parts = (images.list, offer.restore, *_of_classes(panel), panel.add)
        return sorted(parts, key=reached.index)

    def expected() -> list[QWidget]:
        return [images.list, offer.restore, *_of_classes(panel), panel.add]

    assert order() == expected()
    # also when there is another class
    host_of(viewer).workspace.annotating.classes.add("other")
    assert len(panel.rows) == 2
    qtbot.waitUntil(lambda: order() == expected())
    assert spoken_name(panel.rows[0].kind) == "Kind of the class"
    host_of(viewer).close()


def _of_classes(panel: ClassPanel) -> list[QWidget]:
    return [control for row in panel.rows for control in (row.radio, row.kind)]


def _chain(first: QWidget) -> list[QWidget]:
    """Return the controls of a window that the Tab key reaches after one."""
    every, widget = controls(first.window()), first.nextInFocusChain()
    reached = []
    while widget is not first:
        if widget in every:
            reached.append(widget)
        widget = widget.nextInFocusChain()
    return reached


def test_a_part_that_is_gone_is_not_asked_for_its_controls(qtbot: QtBot) -> None:
    first, second = QWidget(), QWidget()
    qtbot.addWidget(first)
    namer = Namer(first, first, second)
    second.deleteLater()
    QApplication.sendPostedEvents(second, QEvent.Type.DeferredDelete)
    QApplication.sendEvent(first, QEvent(QEvent.Type.LayoutRequest))
    # an exception there would end the test
    qtbot.waitUntil(lambda: not namer._clock.isActive())
