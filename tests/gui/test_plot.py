from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QPalette, QWheelEvent
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_unet.gui.plot import LossPlot, decimate
from napari_unet.gui.theme import DARK, LIGHT, Colours

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

CURVE = [(10, 1.0, 0.9), (20, 2.0, 0.5), (30, 4.0, 0.1)]
SCORES = [(10, 0.2, 0.8), (25, 0.7, 0.4)]


@pytest.fixture
def plot(qtbot: QtBot) -> LossPlot:
    made = LossPlot()
    qtbot.addWidget(made)
    made.resize(300, 180)
    made.show()
    qtbot.waitExposed(made)
    return made


def _loss(plot: LossPlot) -> list[list[float]]:
    return [list(part) for part in plot._axes._loss.getData()]


def _iou(plot: LossPlot) -> list[list[float]]:
    return [list(part) for part in plot._axes._iou.getData()]


def test_without_data_it_says_what_will_be_here(plot: LossPlot) -> None:
    assert plot.empty.isVisible()
    assert plot.empty.text() == "Error and overlap (IoU) appear here while training"
    plot.set_data(CURVE)
    assert not plot.empty.isVisible()
    plot.set_data([])
    assert plot.empty.isVisible()


def test_loss_and_iou_are_drawn_against_time(plot: LossPlot) -> None:
    plot.set_data(CURVE, SCORES)
    assert _loss(plot) == [[1, 2, 4], [0.9, 0.5, 0.1]]
    # step 25 was half way between the seconds 2 and 4
    assert _iou(plot) == [[1, 3], [0.2, 0.7]]
    assert plot._axes._plot.getAxis("bottom").labelText == "seconds"


def test_long_runs_are_drawn_in_minutes(plot: LossPlot) -> None:
    plot.set_data([(1, 60.0, 0.5), (2, 180.0, 0.4)])
    assert _loss(plot)[0] == [1, 3]
    assert plot._axes._plot.getAxis("bottom").labelText == "minutes"


def test_scores_without_a_curve_are_drawn_against_their_steps(plot: LossPlot) -> None:
    plot.set_data([], SCORES)
    assert _iou(plot) == [[10, 25], [0.2, 0.7]]


@pytest.mark.parametrize("shades", [DARK, LIGHT])
def test_it_takes_the_colours_of_the_theme(plot: LossPlot, shades: Colours) -> None:
    palette = plot.palette()
    palette.setColor(QPalette.ColorRole.Window, QColor(shades.background))
    palette.setColor(QPalette.ColorRole.WindowText, QColor(shades.text))
    plot.setPalette(palette)
    plot.set_data(CURVE)
    image = plot.grab().toImage()
    assert image.pixelColor(1, 1).name() == shades.background
    drawn = {image.pixelColor(x, y).name() for x in range(300) for y in range(180)}
    assert shades.first in drawn


def test_the_plot_leaves_the_wheel_to_the_dock(qtbot: QtBot) -> None:
    plot = LossPlot()
    plot.setMinimumHeight(600)
    page = QScrollArea()
    qtbot.addWidget(page)
    page.setWidgetResizable(True)
    page.setWidget(plot)
    page.resize(320, 200)
    page.show()
    qtbot.waitExposed(page)
    plot.set_data(CURVE)
    qtbot.waitUntil(lambda: page.verticalScrollBar().maximum() > 0)
    before = plot._axes._plot.vb.viewRange()
    place = QPoint(100, 100)
    target = page.childAt(place)
    event = QWheelEvent(
        QPointF(target.mapFrom(page, place)),
        QPointF(page.mapToGlobal(place)),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    event.ignore()
    QApplication.sendEvent(target, event)
    # what nobody takes goes to the page
    assert target is plot
    assert not event.isAccepted()
    assert plot._axes._plot.vb.viewRange() == before


def test_decimation_keeps_ends_means_and_short_curves() -> None:
    points = np.column_stack([np.arange(9.0), np.arange(9.0) * 10])
    assert decimate(points, 9) is points
    # four pairs, then the last point as it is
    expected = [[0.5, 5], [2.5, 25], [4.5, 45], [6.5, 65], [8, 80]]
    assert decimate(points, 5).tolist() == expected
    assert len(decimate(np.zeros((5000, 2)), 400)) == 400


def test_a_long_curve_is_drawn_with_few_points(plot: LossPlot) -> None:
    plot.set_data([(n, n * 0.05, 1 / (n + 1)) for n in range(5000)])
    assert len(_loss(plot)[0]) == 400


def test_the_plotting_library_is_loaded_with_the_first_data_only() -> None:
    code = (
        "import sys, napari_unet.gui.plot as p\n"
        "from qtpy.QtWidgets import QApplication\n"
        "app = QApplication([]); plot = p.LossPlot()\n"
        "sys.exit('pyqtgraph' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
