"""The workspace of each viewer, and what it needs of Qt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QCheckBox, QMessageBox, QWidget

from napari_unet.gui.canvas_pointer import CanvasPointer, canvas_of
from napari_unet.gui.focus_frame import FocusFrames
from napari_unet.gui.main_thread import MainThread
from napari_unet.gui.notifications import notify
from napari_unet.gui.preferences import (
    follow_preferences,
    keep,
    load_preferences,
)
from napari_unet.gui.tasks import show_as_task
from napari_unet.gui.unexported import question
from napari_unet.gui.warm_up import WarmUp
from napari_unet.io.installation import namesake_problem
from napari_unet.session.preferences import Preferences
from napari_unet.session.worker.client import WORKER_KINDS
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_unet.session.worker.client import Handle

# How often edits that came without an event are looked for.
_TICK_MS = 250
# From a stroke or a shown dock to starting processes, so that nothing stutters.
_SETTLED_MS = 500
_HOSTS: WeakKeyDictionary[Any, WorkspaceHost] = WeakKeyDictionary()


def host_of(viewer: ViewerModel) -> WorkspaceHost:
    """Return the host of a viewer's workspace, made by the first call."""
    # napari gives each widget a proxy of its own
    real = getattr(viewer, "__wrapped__", viewer)
    host = _HOSTS.get(real)
    if host is None or host.workspace.closed:
        host = _HOSTS[real] = WorkspaceHost(real)
    return host


class WorkspaceHost(QObject):
    """Gives a workspace what it needs of Qt: the main thread, a clock, the end."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        _hide_brush_box(viewer)
        self._main_thread = MainThread()
        self._first_labels = WarmUp(self._main_thread)
        self.workspace = Workspace(viewer, self._main_thread.post, Preferences())
        self._forget_preferences: Callable[[], None] = lambda: None
        self.workspace.message.connect(notify)
        self.workspace.guide_skipped.connect(partial(keep, "show_guide", False))
        self.workspace.worker.started.connect(self._show_task)
        self.workspace.annotating.edited.connect(self._on_first_edit)
        self._focus_frames = FocusFrames(self)
        self._windows: list[QWidget] = []
        # whether the person has agreed to what closing ends, and the window is to close
        self._agreed = False
        self._clock = QTimer(self)
        self._clock.timeout.connect(self.workspace.tick)
        self._clock.start(_TICK_MS)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)
        # when the docks are there: napari reads all manifests for the preferences
        QTimer.singleShot(0, self._use_preferences)
        QTimer.singleShot(0, self._first_labels.begin)
        QTimer.singleShot(0, warn_of_namesake)

    def begin(self) -> None:
        """Begin to annotate the open image, as soon as napari can without a pause."""
        self._first_labels.made.then(self.workspace.begin)

    def segment(self) -> None:
        """Find the cells of what is open, as soon as napari shows them at once."""
        self._first_labels.made.then(self._segment)

    def watch(self, window: QWidget) -> None:
        """Close the workspace when this window has been closed.

        Of a dock that floats, the window that it belongs to, and goes with.
        """
        while (owner := window.parentWidget()) is not None:
            window = owner.window()
        if window not in self._windows:
            self._windows.append(window)
            window.installEventFilter(self)
            canvas = canvas_of(window)
            if canvas is not None:
                CanvasPointer(canvas, self.workspace)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice that the window is asked to close; it may still refuse."""
        if event.type() != QEvent.Type.Close or not isinstance(watched, QWidget):
            return False
        box = None if self._agreed else self._question(watched)
        self._agreed = box is not None and _is_agreed(box)
        if box is None or (self._agreed and not event.spontaneous()):
            self._agreed = False
            QTimer.singleShot(0, self._close_if_gone)
            return False
        if self._agreed:
            # to the button of its window napari would reply with questions of its own,
            # which say less; not to a program
            QTimer.singleShot(0, watched.close)
        event.ignore()
        return True

    def warm_up_for_models(self) -> None:
        """Start the worker once napari has settled, if there is a model to predict."""
        if self.workspace.models.own:
            QTimer.singleShot(_SETTLED_MS, self._warm_up)

    def close(self) -> None:
        """End the workspace with its worker."""
        self._clock.stop()
        self._forget_preferences()
        self.workspace.close()
        self._main_thread.close()
        # the workspace references its viewer, which would never be freed
        _HOSTS.pop(self.workspace.viewer, None)

    def _use_preferences(self) -> None:
        """Use what is set in napari, now and whenever it changes."""
        if not self.workspace.closed:
            self.workspace.set_preferences(load_preferences())
            self._forget_preferences = follow_preferences(
                self.workspace.set_preferences
            )

    def _question(self, window: QWidget) -> QMessageBox | None:
        """Return what to ask before the last window closes, None if it is nothing."""
        workspace = self.workspace
        if workspace.closed:
            return None
        last = sum(w.isVisible() for w in self._windows) == 1 and window.isVisible()
        names, stops = workspace.prediction.unexported(), workspace.worker.if_closed
        wanted = last and workspace.preferences.ask_before_closing
        if not wanted or not (names or stops):
            return None
        return question(window, names, stops=stops)

    def _segment(self) -> None:
        if not self.workspace.closed:
            self.workspace.prediction.predict("slice")

    def _close_if_gone(self) -> None:
        try:
            gone = not any(window.isVisible() for window in self._windows)
        except RuntimeError:
            # Qt has deleted the window already
            gone = True
        if gone:
            self.close()

    def _on_first_edit(self, *_: object) -> None:
        """Training will follow: start the worker while the user paints."""
        edited = self.workspace.annotating.edited
        edited.disconnect(self._on_first_edit, missing_ok=True)
        QTimer.singleShot(_SETTLED_MS, self._warm_up)

    def _warm_up(self) -> None:
        if not self.workspace.closed:
            for kind in WORKER_KINDS:
                self.workspace.worker.warm_up(kind)

    def _show_task(self, handle: Handle) -> None:
        # a preview comes again every two seconds: napari stands still for a tenth of a
        # second when it adds a bar
        if not (handle.job.brief or handle.job.is_preview):
            show_as_task(handle, self.workspace.viewer)


def _is_agreed(box: QMessageBox) -> bool:
    """Ask whether to close, and whether to ask again."""
    no_more = QCheckBox("Do not ask again")
    box.setCheckBox(no_more)
    agreed = bool(box.exec() == QMessageBox.StandardButton.Close)
    if agreed and no_more.isChecked():
        keep("ask_before_closing", False)
    return agreed


def _hide_brush_box(viewer: ViewerModel) -> None:
    """Leave out the box that napari draws behind the circle of the brush.

    It means nothing, but stays when the last layer is gone. With nothing else to draw,
    OpenGL then reads memory that the layers have freed, which ends napari (0.7.1 and
    0.9.2).
    """
    canvas = getattr(viewer, "canvas", None)
    # napari before 0.9 has no public way to it
    overlays = getattr(canvas, "overlays", None) or getattr(viewer, "_overlays", {})
    for overlay in overlays.values():
        if type(overlay).__name__ == "BrushCircleOverlay":
            overlay.box = False


def warn_of_namesake() -> None:
    """Say that another package has overwritten this one, or was by it."""
    if problem := namesake_problem():
        notify("warning", problem)
