"""The three docks that napari finds in the manifest: a page each, and the run bar."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_unet.gui.run_bar import RunBar
from napari_unet.gui.workspaces import watch_window, workspace_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtGui import QShowEvent

# Narrow enough for a small laptop, wide enough for a row of three buttons.
_WIDTH, _HEIGHT = 340, 480


class _Dock(QWidget):
    """A page that scrolls, above the run bar that every dock has."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._workspace = workspace_of(napari_viewer)
        # LAYOUT
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._scroll, 1)
        self._bar: RunBar | None = None
        self._fill()
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

    def showEvent(self, event: QShowEvent | None) -> None:
        """Find the window only now: it is known once the dock is in it."""
        super().showEvent(event)
        watch_window(self._viewer, self)

    def _fill(self) -> None:
        """Make page and run bar for the project that is open."""
        self._scroll.setWidget(self._page())
        if self._bar is not None:
            self._bar.deleteLater()
        self._bar = RunBar(self._workspace)
        layout = self.layout()
        if layout is not None:
            layout.addWidget(self._bar)

    def _page(self) -> QWidget:
        raise NotImplementedError


class AnnotateDock(_Dock):
    """Images, classes, brush, data check."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)

    def _page(self) -> QWidget:
        from napari_unet.gui.annotate.page import AnnotatePage

        return AnnotatePage(self._workspace)


class TrainDock(_Dock):
    """Recipe, loss, preview, verdict."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)

    def _page(self) -> QWidget:
        from napari_unet.gui.train.page import TrainPage

        return TrainPage(self._workspace)


class PredictDock(_Dock):
    """Model, what to predict, cells, export."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)

    def _page(self) -> QWidget:
        from napari_unet.gui.predict.page import PredictPage

        return PredictPage(self._workspace)
