"""A hand on the mouse of a real napari window: it clicks, drags, counts presses."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari
    from qtpy.QtWidgets import QComboBox, QWidget

_LEFT = Qt.MouseButton.LeftButton
_NO_KEYS = Qt.KeyboardModifier.NoModifier
_TRIES = 10
_MENU_S = 0.5
# No fault of a machine that is busy.
_PATIENCE_S = 600.0


class Hand:
    """Uses a viewer as a person does.

    Parameters
    ----------
    viewer : napari.Viewer

    Attributes
    ----------
    presses : int
        Presses of the mouse outside the canvas so far.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.presses = 0
        self.window = viewer.window._qt_window
        self._canvas = viewer.window._qt_viewer.canvas.native

    def menu(self, *titles: str) -> None:
        """Choose an entry of the menu bar, one press for each level.

        Without a window manager a menu may close again as soon as it is pressed; then
        the hand begins anew, and counts its presses once.
        """
        before = self.presses
        for _ in range(_TRIES):
            self.presses = before
            chosen = self._choose(titles)
            self._close_menus()
            if chosen:
                return
        raise TimeoutError(f"no menu shows {' > '.join(titles)}")

    def click(self, widget: QWidget) -> None:
        """Press a button or a box in a dock."""
        if not widget.isVisible() or not widget.isEnabled():
            raise ValueError(f"{widget.objectName() or widget} cannot be pressed")
        self._press(widget, widget.rect().center())

    def choose(self, box: QComboBox, data: object) -> bool:
        """Press a box and the item of its list that has some data.

        Whether the list took it: grey items are none that can be chosen.
        """
        index = box.findData(data)
        view = box.view()
        chosen: list[int] = []
        box.activated.connect(chosen.append)
        self.click(box)
        self._happens(view.isVisible, _MENU_S)
        # a release that follows at once still belongs to the press that opened the list
        self.wait(_MENU_S)
        item = view.visualRect(box.model().index(index, 0)).center()
        self._press(view.viewport(), item)
        box.hidePopup()
        box.activated.disconnect(chosen.append)
        return chosen == [index]

    def drag(self, points: Sequence[Sequence[float]], layer: Any) -> None:
        """Draw on the canvas through points (y, x) of a layer; not counted."""
        self.press(points[0], layer)
        for point in points:
            self.move(point, layer)
            QTest.qWait(1)
        # napari takes up moves by a timer: the last would come after the release; and
        # the screen may tell only now of the pointer's jump to where the button went
        # down, which overtakes it
        for _ in range(_TRIES):
            if self._happens(lambda: self._is_at(points[-1], layer), 0.1):
                break
            self.move(points[-1], layer)
        self.release(points[-1], layer)
        self.wait(0.01)

    def _is_at(self, point: Sequence[float], layer: Any) -> bool:
        """Whether napari knows that the mouse is at a point (y, x) of a layer."""
        known = layer.world_to_data(self.viewer.cursor.position)[-2:]
        # the mouse is on a whole pixel of the screen
        nearest = 1 / self._camera.zoom
        return all(abs(a - b) <= nearest for a, b in zip(known, point, strict=True))

    def press(self, point: Sequence[float], layer: Any) -> None:
        """Press the left button at a point (y, x) of a layer; not counted."""
        place = self.canvas_point(point, layer)
        QTest.mouseMove(self._canvas, place)
        QTest.mousePress(self._canvas, _LEFT, _NO_KEYS, place)

    def move(self, point: Sequence[float], layer: Any) -> None:
        """Move the mouse with the button pressed."""
        place = self.canvas_point(point, layer)
        # QTest's mouse moves carry no pressed button
        moved = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(place),
            QPointF(self._canvas.mapToGlobal(place)),
            _LEFT,
            _LEFT,
            _NO_KEYS,
        )
        QApplication.sendEvent(self._canvas, moved)

    def release(self, point: Sequence[float], layer: Any) -> None:
        """Let go of the button."""
        place = self.canvas_point(point, layer)
        QTest.mouseRelease(self._canvas, _LEFT, _NO_KEYS, place)

    def key(self, key: Any, modifiers: Any = _NO_KEYS) -> None:
        """Press a key with the canvas in focus."""
        self._canvas.setFocus()
        QTest.keyClick(self._canvas, key, modifiers)
        self.wait(0.02)

    @property
    def _camera(self) -> Any:
        """The viewer's own before napari 0.9."""
        return getattr(self.viewer, "scene", self.viewer).camera

    def canvas_point(self, point: Sequence[float], layer: Any) -> QPoint:
        """Return where a point (y, x) of a layer is on the canvas."""
        world = layer.data_to_world((*layer_place(layer, self.viewer), *point))
        camera = self._camera
        size = self._canvas.size()
        shown = self.viewer.dims.displayed
        y, x = (world[axis - len(self.viewer.dims.point)] for axis in shown[-2:])
        _, centre_y, centre_x = camera.center
        return QPoint(
            round(size.width() / 2 + (x - centre_x) * camera.zoom),
            round(size.height() / 2 + (y - centre_y) * camera.zoom),
        )

    def wait(self, seconds: float) -> None:
        """Let the application work for a while."""
        QTest.qWait(max(int(1000 * seconds), 1))

    def wait_until(
        self, condition: Callable[[], object], seconds: float = _PATIENCE_S
    ) -> None:
        """Let the application work until something holds."""
        if not self._happens(condition, seconds):
            raise TimeoutError(f"it did not happen within {seconds} s")

    def _happens(self, condition: Callable[[], object], seconds: float) -> bool:
        end = monotonic() + seconds
        while not condition():
            if monotonic() > end:
                return False
            QTest.qWait(10)
        return True

    def _choose(self, titles: Sequence[str]) -> bool:
        """Press an entry of each level; whether the last one took it."""
        place: Any = self.window.menuBar()
        chosen: list[bool] = []
        for title in titles:
            action = next(
                a for a in place.actions() if a.text().replace("&", "") == title
            )
            if title == titles[-1]:
                action.triggered.connect(chosen.append)
                self._press(place, place.actionGeometry(action).center())
                action.triggered.disconnect(chosen.append)
                return bool(chosen)
            self._press(place, place.actionGeometry(action).center())
            place = action.menu()
            if not self._happens(place.isVisible, _MENU_S):
                return False
        return False

    def _close_menus(self) -> None:
        while (popup := QApplication.activePopupWidget()) is not None:
            popup.close()
        self.window.menuBar().setActiveAction(None)
        self.wait(0.05)

    def _press(self, widget: QWidget, place: QPoint) -> None:
        self.presses += 1
        QTest.mouseMove(widget, place)
        QTest.mouseClick(widget, _LEFT, _NO_KEYS, place)
        QTest.qWait(20)


def layer_place(layer: Any, viewer: Any) -> tuple[float, ...]:
    """Return the position of the sliders along the layer's axes that are not shown."""
    point = viewer.dims.point
    here = layer.world_to_data(point[-layer.ndim :])
    return tuple(here[: layer.ndim - 2])
