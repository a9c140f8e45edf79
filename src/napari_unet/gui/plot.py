"""The learning curve: training loss and agreement with held-out annotation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import qtpy
from qtpy.QtCore import QEvent, QSize, Qt, QTimer
from qtpy.QtWidgets import QSizePolicy, QStackedLayout, QWidget

from napari_unet.gui.theme import Colours, colours, is_dark
from napari_unet.gui.widgets import Hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A plot in a dock is some 300 pixels wide: more points cannot be seen.
_POINTS = 400


class LossPlot(QWidget):
    """Training loss (left axis) and validation IoU (right axis) against time.

    The plotting library is loaded with the first data, so that docks open faster.
    """

    def __init__(self) -> None:
        super().__init__()
        self._curve: NDArray[np.float64] = np.empty((0, 3))
        self._scores: NDArray[np.float64] = np.empty((0, 3))
        self._axes: _Axes | None = None
        self._stale = False
        # WIDGETS
        self.empty = Hint("Error and overlap (IoU) appear here while training")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        # LAYOUT
        # a margin that nothing covers shows whether it is in sight, see `_draw`
        self.setContentsMargins(0, 1, 0, 0)
        self._layout = QStackedLayout(self)
        self._layout.addWidget(self.empty)
        self.setMinimumSize(200, 140)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Error on what is learnt from (loss, lower is better), and overlap with "
            "annotation kept aside (IoU, intersection over union; 1 is perfect)."
        )

    def sizeHint(self) -> QSize:
        """Return a size that fits the narrowest dock."""
        return QSize(300, 180)

    def set_data(
        self,
        curve: Sequence[tuple[int, float, float]],
        scores: Sequence[tuple[int, float, float]] = (),
    ) -> None:
        """Show how training goes.

        `curve` is of (step, seconds, loss), and empty to begin anew; `scores`, of
        held-out annotation, of (step, iou, loss); both in the order of steps.
        """
        self._curve = np.asarray(curve, float).reshape(-1, 3)
        self._scores = np.asarray(scores, float).reshape(-1, 3)
        self._draw()

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow napari's theme."""
        super().changeEvent(event)
        kinds = (QEvent.Type.StyleChange, QEvent.Type.PaletteChange)
        if event is not None and event.type() in kinds:
            self._paint()

    def showEvent(self, event: Any) -> None:
        """Take the colours of the window it is in."""
        super().showEvent(event)
        self._paint()

    def paintEvent(self, event: Any) -> None:
        """Draw data that arrived while the plot was out of sight."""
        super().paintEvent(event)
        if self._stale:
            QTimer.singleShot(0, self._draw)

    def _paint(self) -> None:
        # Qt may change the style before the constructor has finished
        axes = getattr(self, "_axes", None)
        if axes is not None:
            axes.paint(colours(is_dark(self)))

    def _draw(self) -> None:
        # under another tab it is out of sight, though Qt calls it visible
        shown = self.window().isVisible()
        self._stale = shown and self.visibleRegion().isEmpty()
        if self._stale:
            return
        if not len(self._curve) and not len(self._scores):
            self._layout.setCurrentWidget(self.empty)
            return
        if self._axes is None:
            self._axes = _Axes()
            self._layout.addWidget(self._axes.canvas)
            self._paint()
        self._layout.setCurrentWidget(self._axes.canvas)
        seconds = self._curve[:, 1]
        minutes = len(seconds) > 0 and seconds[-1] > 120
        x = seconds / 60 if minutes else seconds
        steps = self._scores[:, 0]
        at = np.interp(steps, self._curve[:, 0], x) if len(x) else steps
        self._axes.draw(
            decimate(np.column_stack([x, self._curve[:, 2]]), _POINTS),
            np.column_stack([at, self._scores[:, 1]]),
            "minutes" if minutes else "seconds",
        )


def decimate(points: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return the means of neighbouring points, and the last point as it is.

    `points` has shape (n, 2), the result (at most `most`, 2); `most` is 2 or more.
    """
    if len(points) <= most:
        return points
    starts = np.linspace(0, len(points) - 1, most, dtype=int)[:-1]
    sizes = np.diff(np.append(starts, len(points) - 1))
    means = np.add.reduceat(points[:-1], starts, axis=0) / sizes[:, None]
    return np.vstack([means, points[-1]])


class _Axes:
    """The two axes of pyqtgraph, which share the horizontal one."""

    def __init__(self) -> None:
        # pyqtgraph would take the first binding it finds, not the one of napari
        os.environ.setdefault("PYQTGRAPH_QT_LIB", qtpy.API_NAME)
        import pyqtgraph

        self._pg = pyqtgraph
        self.canvas = pyqtgraph.PlotWidget()
        self.canvas.setMinimumSize(0, 0)
        plot = self.canvas.getPlotItem()
        # the mouse is for the page: a wheel over the plot scrolls the dock
        for part in (self.canvas, self.canvas.viewport()):
            part.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        plot.setMouseEnabled(x=False, y=False)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        # a menu without a parent would outlive the plot
        plot.ctrlMenu.setParent(self.canvas, plot.ctrlMenu.windowFlags())
        self._plot = plot
        self._right = pyqtgraph.ViewBox(enableMenu=False)
        self._right.setMouseEnabled(x=False, y=False)
        plot.showAxis("right")
        plot.scene().addItem(self._right)
        plot.getAxis("right").linkToView(self._right)
        for side in ("left", "bottom"):
            plot.getAxis(side).enableAutoSIPrefix(False)
        self._right.setXLink(plot)
        self._right.setYRange(0, 1, padding=0.02)
        plot.vb.sigResized.connect(self._on_resized)
        self._loss = plot.plot(antialias=True)
        self._iou = pyqtgraph.PlotDataItem(antialias=True, symbol="o", symbolSize=5)
        self._right.addItem(self._iou)
        # at the right, half way up: loss ends below and IoU above
        self._legend = plot.addLegend(labelTextSize="8pt", verSpacing=-6)
        self._legend.anchor((1, 0.5), (1, 0.5), offset=(-6, 0))

    def draw(
        self, curve: NDArray[np.float64], scores: NDArray[np.float64], unit: str
    ) -> None:
        """Show points (x, loss) and (x, IoU), with the unit of x below."""
        self._loss.setData(curve[:, 0], curve[:, 1])
        self._iou.setData(scores[:, 0], scores[:, 1])
        if self._plot.getAxis("bottom").labelText != unit:
            self._plot.setLabel("bottom", unit)

    def paint(self, shades: Colours) -> None:
        """Take the colours of a theme."""
        pg = self._pg
        self.canvas.setBackground(shades.background)
        for side, shade in (
            ("left", shades.first),
            ("right", shades.second),
            ("bottom", shades.text),
        ):
            axis = self._plot.getAxis(side)
            axis.setPen(pg.mkPen(shades.muted))
            axis.setTextPen(pg.mkPen(shade))
        self._plot.setLabel("left", "error")
        self._plot.setLabel("right", "overlap (IoU)")
        self._loss.setPen(pg.mkPen(shades.first, width=1.6))
        self._iou.setPen(pg.mkPen(shades.second, width=1.6))
        self._iou.setSymbolBrush(shades.second)
        self._iou.setSymbolPen(shades.second)
        self._legend.setLabelTextColor(shades.text)
        # only new entries take the colour
        self._legend.clear()
        self._legend.addItem(self._loss, "Error")
        self._legend.addItem(self._iou, "Overlap")

    def _on_resized(self) -> None:
        self._right.setGeometry(self._plot.vb.sceneBoundingRect())
