"""The docks and commands that napari finds in the manifest."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_unet.gui.guide_bar import GuideBar
from napari_unet.gui.help_dialog import HelpDialog
from napari_unet.gui.run_bar import RunBar
from napari_unet.gui.screen_reader import Namer
from napari_unet.gui.show_row import ShowRow
from napari_unet.gui.widgets import MARGIN
from napari_unet.gui.workspaces import host_of
from napari_unet.io.model_file import SUFFIX

if TYPE_CHECKING:
    from napari import Viewer
    from napari.components import ViewerModel
    from qtpy.QtGui import QShowEvent

# Narrow enough for a small laptop, wide enough for a row of three buttons.
_WIDTH, _HEIGHT = 340, 480

# Pages that nobody has looked at are made after this time.
_FILLED_MS = 2000


def show_dock(viewer: Viewer, kind: type[Dock]) -> None:
    """Bring a dock to the front, whichever way it was opened.

    Docks that are not there are made, in tabs in the order of the work; those that
    people put elsewhere stay there.
    """
    opened = viewer.window.dock_widgets.values()
    docks = {k: next((d for d in opened if isinstance(d, k)), None) for k in KINDS}
    missing = [k for k, dock in docks.items() if dock is None]
    for k in missing:
        dock = docks[k] = k(viewer)
        dock.brought = True
        # napari's menus know a dock by this name: they show or hide this one then
        viewer.window.add_dock_widget(dock, name=f"{k.title} (U-Net)", tabify=True)
    made = [dock.parentWidget() for dock in docks.values() if dock is not None]
    frames = [frame for frame in made if isinstance(frame, QDockWidget)]
    chosen = docks[kind]
    front = None if chosen is None else chosen.parentWidget()
    if not isinstance(front, QDockWidget):
        return
    window = front.parentWidget()
    if missing and isinstance(window, QMainWindow):
        _in_order(window, frames, front)
    front.show()
    front.raise_()
    if chosen is not None:
        # the Tab key goes on from here, not from wherever the command was chosen
        QTimer.singleShot(0, chosen.take_focus)


def _in_order(
    window: QMainWindow, frames: list[QDockWidget], front: QDockWidget
) -> None:
    area = window.dockWidgetArea(front)
    first, *others = [
        frame
        for frame in frames
        if not frame.isFloating() and window.dockWidgetArea(frame) == area
    ] or [front]
    for frame in others:
        window.tabifyDockWidget(first, frame)


def open_workspace() -> None:
    """Open the three docks of the current viewer, in tabs."""
    from napari import current_viewer

    if (viewer := current_viewer()) is None:
        return
    for kind in (*KINDS, AnnotateDock):
        show_dock(viewer, kind)
    host_of(viewer).begin()


def segment_now() -> None:
    """Find the cells of the slice in view with the chosen model, and show the docks."""
    from napari import current_viewer

    if (viewer := current_viewer()) is None:
        return
    show_dock(viewer, PredictDock)
    host_of(viewer).segment()


def offer_model(path: str | Path) -> None:
    """Choose a model in the Predict dock of the current viewer, and show the dock.

    One of another program is read by the worker first.
    """
    from napari import current_viewer

    if (viewer := current_viewer()) is None:
        return
    workspace = host_of(viewer).workspace
    if str(path).endswith(SUFFIX):
        workspace.models.add(Path(path))
        workspace.models.select(Path(path))
    else:
        workspace.foreign_models.take(Path(path))
    show_dock(viewer, PredictDock)


class Dock(QWidget):
    """A page that scrolls, below a guide, above what is shown and the run bar."""

    title: ClassVar[str]
    """Of its tab, and its name in the manifest."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._workspace = host_of(napari_viewer).workspace
        # LAYOUT
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._scroll, 1)
        # guide, row and bar; none before the page is made
        self._around: tuple[QWidget, ...] = ()
        self._placed = False
        # whether it was made along with others, which look after its place
        self.brought = False
        # those under other tabs are filled when they are looked at, or a while later
        QTimer.singleShot(_FILLED_MS, self._fill_once)
        # CONNECTIONS
        self._workspace.project_opened.connect(self._fill)
        opened = self._workspace.project_opened
        self.destroyed.connect(partial(opened.disconnect, self._fill, missing_ok=True))

    def sizeHint(self) -> QSize:
        """Return the size that napari should give the dock."""
        return QSize(_WIDTH, _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """Return a size that fits the smallest screen: the page scrolls."""
        return QSize(300, 200)

    def take_focus(self) -> None:
        """Let the Tab key go to the first control of the dock next."""
        self._scroll.setFocus()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Find the window only now: it is known once the dock is in it."""
        super().showEvent(event)
        host = host_of(self._viewer)
        host.watch(self.window())
        host.warm_up_for_models()
        if not self._placed:
            self._placed = True
            QTimer.singleShot(0, self._place)
        self._look()

    def _place(self) -> None:
        """Give the tab a title that fits, and bring the other docks along."""
        frame = self.parentWidget()
        if not isinstance(frame, QDockWidget):
            return
        frame.setWindowTitle(self.title)
        frame.visibilityChanged.connect(self._look)
        # the Tab key would go through what is under another tab
        frame.visibilityChanged.connect(frame.setEnabled)
        frame.setEnabled(not self.visibleRegion().isEmpty())
        if not self.brought and hasattr(self._workspace.viewer, "window"):
            show_dock(self._workspace.viewer, type(self))

    def _look(self, *_: object) -> None:
        # once it is laid out: Qt moves what is under another tab out of the window
        QTimer.singleShot(0, self._fill_if_seen)

    def _fill_if_seen(self) -> None:
        if not self.visibleRegion().isEmpty():
            self._fill_once()

    def _fill_once(self) -> None:
        if not self._around:
            self._fill()

    def _fill(self) -> None:
        """Make guide, page and run bar for the project that is open."""
        page = self._page()
        self._scroll.setWidget(page)
        for old in self._around:
            old.deleteLater()
        guide = GuideBar(self._workspace.guide, self.title)
        guide.asked.connect(self._show_other)
        bar = RunBar(self._workspace)
        bar.help_asked.connect(self._help)
        shown = ShowRow(self._workspace)
        self._around = (guide, shown, bar)
        layout = self.layout()
        if not isinstance(layout, QVBoxLayout):
            return
        layout.insertWidget(0, guide)
        # what is in the hand all the time stays in sight, however long the page is
        pinned = getattr(page, "pinned", None)
        if isinstance(pinned, QWidget):
            pinned.setContentsMargins(MARGIN, 4, MARGIN, 0)
            layout.addWidget(pinned)
            self._around += (pinned,)
        layout.addWidget(shown)
        layout.addWidget(bar)
        # from top to bottom
        Namer(self._scroll, guide, page, *self._around[3:], shown, bar)

    def _show_other(self, title: str) -> None:
        kind = next(kind for kind in KINDS if kind.title == title)
        show_dock(self._workspace.viewer, kind)

    def _help(self) -> None:
        HelpDialog(self.title, self).show()

    def _page(self) -> QWidget:
        raise NotImplementedError


class AnnotateDock(Dock):
    """Images, classes, brush, data check."""

    title = "Annotate"

    def _page(self) -> QWidget:
        from napari_unet.gui.annotate.page import AnnotatePage

        return AnnotatePage(self._workspace)

    def _place(self) -> None:
        super()._place()
        host_of(self._viewer).begin()


class TrainDock(Dock):
    """Recipe, loss, preview, comparison."""

    title = "Train"

    def _page(self) -> QWidget:
        from napari_unet.gui.train.page import TrainPage

        return TrainPage(self._workspace)


class PredictDock(Dock):
    """Model, what to predict, cells, export."""

    title = "Predict"

    def _page(self) -> QWidget:
        from napari_unet.gui.predict.page import PredictPage

        return PredictPage(self._workspace)


KINDS: tuple[type[Dock], ...] = (AnnotateDock, TrainDock, PredictDock)
"""All docks, in the order of the work."""
