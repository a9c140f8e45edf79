"""A mouse pointer in the canvas for the keyboard: keys move and press it.

It sends mouse events to napari, so that brush, fill, polygons and the tools of the
docks work with it. It also draws the stroke of a tool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QCursor, QKeyEvent, QMouseEvent, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QApplication, QMainWindow, QOpenGLWidget, QWidget

from napari_unet.gui.widgets import follow
from napari_unet.session.images.layers import role_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from qtpy.QtGui import QPaintEvent

    from napari_unet.session.workspace import Workspace

_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
# A step is a pixel of the image, but at least so many of the screen; ten with Ctrl.
_STEP, _FAR = 2.0, 10
# Arms of the cross, in pixels of the screen.
_INNER, _OUTER = 4, 14
# Rounding between the real mouse and the position set by keys.
_SAME = 2.0
_MOUSE = (
    QEvent.Type.MouseMove,
    QEvent.Type.MouseButtonPress,
    QEvent.Type.MouseButtonRelease,
    QEvent.Type.MouseButtonDblClick,
)
_LEFT, _NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
_PLAIN = Qt.KeyboardModifier.NoModifier
_SHIFT = Qt.KeyboardModifier.ShiftModifier
_CONTROL = Qt.KeyboardModifier.ControlModifier
# the arrows of some keyboards are on a number pad
_PAD = Qt.KeyboardModifier.KeypadModifier


class CanvasPointer(QWidget):
    """A transparent widget on the canvas that handles its keys.

    Shift and an arrow move it, C clicks, Shift+C presses and releases; the letters only
    while a layer of predicted or painted cells is active.
    """

    def __init__(self, canvas: QWidget, workspace: Workspace) -> None:
        super().__init__(canvas)
        self._canvas, self._workspace = canvas, workspace
        self._viewer = workspace.viewer
        self._at: QPointF | None = None
        self._seen = self._down = self._own = False
        self._stroke: list[QPointF] = []
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Pointer that the keyboard moves")
        canvas.installEventFilter(self)
        follow(self, workspace.project_opened, self._follow_editor)
        self._follow_editor()
        self.hide()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take the keys of the pointer, and see where the mouse goes."""
        if event is None or watched is not self._canvas:
            return False
        # Its class alone is no proof: napari keeps the wrapper of a mouse event that Qt
        # has freed, and another event in its place in memory is taken for it. To read a
        # position then ends the process.
        kind = event.type()
        if kind == QEvent.Type.KeyPress:
            return isinstance(event, QKeyEvent) and self._on_key(event)
        if kind in _MOUSE and isinstance(event, QMouseEvent) and not self._own:
            self._on_mouse(event.position())
        elif kind == QEvent.Type.FocusOut and self._down:
            self._release()
        return False

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the stroke, and a cross where the keys put the pointer."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        # light on dark is visible on any image
        for colour, width in ((Qt.GlobalColor.black, 3.0), (Qt.GlobalColor.white, 1.5)):
            painter.setPen(QPen(colour, width))
            painter.drawPolyline(QPolygonF(self._stroke))
            if self._seen and self._at is not None:
                for x, y in _ARROWS.values():
                    way = QPointF(x, y)
                    painter.drawLine(self._at + way * _INNER, self._at + way * _OUTER)
        painter.end()

    def point_to(self, world: Sequence[float]) -> None:
        """Move to a point in world coordinates; the view moves if needed."""
        place = self._on_canvas(world)
        if not self._canvas.rect().adjusted(9, 9, -9, -9).contains(place.toPoint()):
            shown = [d - self._viewer.dims.ndim for d in self._viewer.dims.displayed]
            camera = self._camera()
            camera.center = tuple(world[d] for d in shown)
            place = self._on_canvas(world)
        self._move(place)

    def mark_middle(self) -> None:
        """Show the cross in the middle, until the mouse moves on the canvas."""
        self._at = QPointF(self._canvas.rect().center())
        self._show(seen=True)

    def _camera(self) -> Any:
        # napari before 0.9 has no scene
        return getattr(self._viewer, "scene", self._viewer).camera

    def _on_canvas(self, world: Sequence[float]) -> QPointF:
        """Return the position of a point in world coordinates on the canvas."""
        camera, dims = self._camera(), self._viewer.dims
        y, x = (world[d - dims.ndim] for d in dims.displayed[-2:])
        size = self._canvas.size()
        return QPointF(
            size.width() / 2 + (x - camera.center[-1]) * camera.zoom,
            size.height() / 2 + (y - camera.center[-2]) * camera.zoom,
        )

    def _follow_editor(self) -> None:
        editor = self._workspace.editor
        follow(self, editor.pointed, self.point_to)
        follow(self, editor.canvas.traced, self._on_traced)
        follow(self, self._workspace.prediction.tables.centred, self.mark_middle)

    def _on_key(self, event: QKeyEvent) -> bool:
        """Handle a key; return whether it was one of the pointer's."""
        pressed = event.modifiers() & ~_PAD
        key = Qt.Key(event.key())
        if key in _ARROWS and pressed in (_SHIFT, _SHIFT | _CONTROL):
            self._step(_ARROWS[key], _FAR if pressed & _CONTROL else 1)
            return True
        if key != Qt.Key.Key_C or pressed not in (_PLAIN, _SHIFT):
            return False
        active = self._viewer.layers.selection.active
        if active is None or role_of(active) not in ("cells", "annotation"):
            return False
        if not event.isAutoRepeat():
            self._click(hold=pressed == _SHIFT)
        return True

    def _on_mouse(self, place: QPointF) -> None:
        """Hide the cross when the real mouse moves away from it."""
        if self._at is None or (place - self._at).manhattanLength() > _SAME:
            self._at = place
            self._show(seen=False)

    def _step(self, way: tuple[int, int], times: int) -> None:
        step = times * max(self._camera().zoom * self._pixel(), _STEP)
        self._move(self._place() + QPointF(*way) * step)

    def _pixel(self) -> float:
        """Return the size of a pixel of the active layer in world coordinates."""
        active = self._viewer.layers.selection.active
        return 1.0 if active is None else float(abs(active.scale[-1]))

    def _place(self) -> QPointF:
        """Return the position of the pointer, at first the middle."""
        return self._at or QPointF(self._canvas.rect().center())

    def _move(self, place: QPointF) -> None:
        last = self._canvas.rect().bottomRight()
        self._at = QPointF(
            min(max(place.x(), 0.0), last.x()), min(max(place.y(), 0.0), last.y())
        )
        # where the system does not allow moving the mouse, only the cross shows it
        QCursor.setPos(self._canvas.mapToGlobal(self._at).toPoint())
        self._viewer.mouse_over_canvas = True
        self._send(QEvent.Type.MouseMove, _LEFT if self._down else _NONE)
        self._show(seen=True)

    def _click(self, *, hold: bool) -> None:
        if self._down:
            self._release()
            return
        if self._at is None:
            self._move(self._place())
        self._down = True
        self._send(QEvent.Type.MouseButtonPress, _LEFT)
        self._show(seen=True)
        if not hold:
            self._release()

    def _release(self) -> None:
        self._down = False
        self._send(QEvent.Type.MouseButtonRelease, _NONE)

    def _send(self, kind: QEvent.Type, buttons: Qt.MouseButton) -> None:
        """Send a mouse event to napari."""
        place = self._place()
        moved = kind == QEvent.Type.MouseMove
        event = QMouseEvent(
            kind,
            place,
            self._canvas.mapToGlobal(place),
            _NONE if moved else _LEFT,
            buttons,
            _PLAIN,
        )
        self._own = True
        try:
            QApplication.sendEvent(self._canvas, event)
        finally:
            self._own = False

    def _on_traced(self, points: list[Any]) -> None:
        self._stroke = [QPointF(float(x), float(y)) for x, y in points]
        self._show(seen=self._seen)

    def _show(self, *, seen: bool) -> None:
        """Cover the canvas while there is something to draw."""
        self._seen = seen
        wanted = seen or bool(self._stroke)
        if wanted:
            self.setGeometry(self._canvas.rect())
            self.raise_()
        self.setVisible(wanted)
        self.update()


def canvas_of(window: QWidget) -> QWidget | None:
    """Return the canvas of a window of napari, None in any other."""
    # the docks hold thousands of widgets, and Python looks at each of them
    centre = window.centralWidget() if isinstance(window, QMainWindow) else None
    found = [] if centre is None else centre.findChildren(QOpenGLWidget)
    return max(found, key=lambda one: one.width() * one.height(), default=None)
