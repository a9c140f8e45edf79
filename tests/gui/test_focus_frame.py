"""What the keyboard went to is framed, and Enter presses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton, QWidget

from napari_unet.gui.canvas_pointer import CanvasPointer
from napari_unet.gui.focus_frame import FocusFrames
from napari_unet.gui.widgets import Fold, column

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_unet.session.workspace import Workspace


class Window(QWidget):
    """Two of our controls, and one of somebody else."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = QPushButton("inside")
        self.fold = Fold("More", self.inner)
        self.fold.button.setChecked(True)
        self.other = QPushButton("other")
        self.pressed: list[str] = []
        for button in (self.inner, self.other):
            button.clicked.connect(self._on_clicked)
        column(self, self.fold, self.other)

    def _on_clicked(self) -> None:
        sender = self.sender()
        assert isinstance(sender, QPushButton)
        self.pressed.append(sender.text())


@pytest.fixture
def window(qtbot: QtBot) -> Window:
    window = Window()
    qtbot.addWidget(window)
    window.show()
    window.activateWindow()
    window.other.setFocus()
    qtbot.waitUntil(window.other.hasFocus)
    return window


def test_what_the_tab_key_reaches_is_framed_and_enter_presses_it(
    window: Window, qtbot: QtBot
) -> None:
    keeper = QObject()
    frames = FocusFrames(keeper)
    QTest.keyClick(window.other, Qt.Key.Key_Tab)
    assert window.fold.button.hasFocus()
    QTest.keyClick(window.fold.button, Qt.Key.Key_Tab)
    frame, inner = frames.frame, window.inner
    assert inner.hasFocus()
    assert frame is not None
    assert frame.parentWidget() is inner
    assert (frame.isVisible(), frame.geometry()) == (True, inner.rect())
    inner.resize(200, 60)
    assert frame.geometry() == inner.rect()
    assert window.pressed == []
    QTest.keyClick(inner, Qt.Key.Key_Return)
    assert window.pressed == ["inside"]
    # what is of others stays as it is
    QTest.keyClick(inner, Qt.Key.Key_Tab)
    assert window.other.hasFocus()
    assert frames.frame is None
    QTest.keyClick(window.other, Qt.Key.Key_Return)
    assert window.pressed == ["inside"]
    # the page is made anew while it has the focus
    inner.setFocus()
    assert frames.frame is not None
    inner.deleteLater()
    qtbot.waitUntil(lambda: frames.frame is None)
    # the mouse needs no frame
    window.other.setFocus()
    QTest.mouseClick(window.fold.button, Qt.MouseButton.LeftButton)
    assert frames.frame is None


def test_an_event_is_taken_for_what_it_is_not_for_what_is_in_its_place(
    window: Window, workspace: Workspace
) -> None:
    pointer = CanvasPointer(window.other, workspace)
    at = QPointF(3, 4)
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier

    def send(kind: QEvent.Type) -> bool:
        event = QMouseEvent(kind, at, at, left, left, none)
        return pointer.eventFilter(window.other, event)

    assert not send(QEvent.Type.KeyPress)
    assert pointer._at is None
    assert not send(QEvent.Type.MouseMove)
    assert pointer._at == at
