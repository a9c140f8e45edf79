from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtWidgets import QWidget

from example_models import random_model
from napari_unet.core.events import CellsMeasured
from napari_unet.core.jobs import MeasureJob, PredictJob, SegmentJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.gui.canvas_pointer import CanvasPointer
from napari_unet.gui.predict.cell_table_window import CellTableModel, CellTableWindow
from napari_unet.io.model_file import save_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from fake_worker import FakeWorker
    from napari_unet.core.cells.measurements import Columns
    from napari_unet.session.workspace import Workspace

# of one slice: two cells, side by side
TABLE: Columns = {
    "label": np.array([1, 2]),
    "class": np.array(["cells", "cells"]),
    "t": np.array([0, 0]),
    "z": np.array([0, 0]),
    "centroid_y_px": np.array([2.0, 2.0]),
    "centroid_x_px": np.array([2.0, 7.0]),
    "area_px": np.array([30, 20]),
    "class_probability": np.array([0.98765, np.nan]),
}


@pytest.fixture
def workspace(workspace: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with a model."""
    path = tmp_path / "blobs.safetensors"
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
    save_model(random_model(table), path)
    workspace.models.select(path)
    return workspace


@pytest.fixture
def window(
    workspace: Workspace, fake: FakeWorker, qtbot: QtBot
) -> Iterator[CellTableWindow]:
    """A table of an image with two cells."""
    layer = workspace.viewer.add_image(np.ones((8, 10), np.uint8), name="blobs")
    workspace.images.add([layer])
    workspace.prediction.predict("slice")
    (handle,) = fake.running(PredictJob)
    fake.predict(handle)
    fake.end(handle)
    while fake.running(SegmentJob):
        fake.find_cells(fake.running(SegmentJob)[0], 2)
    (results,) = workspace.prediction.results.values()
    results.files.arrays["cells"][:] = np.repeat([[1, 2]], 5, axis=1)
    window = CellTableWindow(workspace)
    window.show()
    qtbot.waitExposed(window)
    while fake.running(MeasureJob):
        handle = fake.running(MeasureJob)[0]
        fake.emit(handle, CellsMeasured(TABLE))
        fake.end(handle)
    yield window
    with suppress(RuntimeError):  # some tests close it
        window.close()


def texts(model: CellTableModel, column: int) -> list[str]:
    return [model.data(model.index(n, column)) for n in range(model.rowCount())]


def test_numbers_are_short_and_sorted_as_numbers(qtbot: QtBot) -> None:
    model = CellTableModel()
    model.set_table(TABLE)
    # no columns of slices and time points: there is one alone
    assert (model.rowCount(), model.columnCount()) == (2, len(TABLE) - 2)
    assert texts(model, 5) == ["0.9877", ""]
    header = Qt.Orientation.Horizontal
    # how large a cell is stands where one need not scroll for it
    assert model.headerData(1, header) == "area px"
    model.sort(1)
    assert texts(model, 1) == ["20", "30"]
    assert model.row_of(model.index(0, 0)) == 1
    assert model.place_of(1).row() == 0
    model.sort(1, Qt.SortOrder.DescendingOrder)
    assert texts(model, 1) == ["30", "20"]
    model.set_table({"label": np.array([1]), "area_um2": np.array([1.5])})
    assert model.headerData(1, header) == "area µm²"
    many = {"label": np.arange(100_000), "area_px": np.arange(100_000)[::-1]}
    model.set_table(many)
    model.sort(1)
    assert model.data(model.index(0, 0)) == "99999"


def test_cells_are_counted_and_their_sizes_shown(window: CellTableWindow) -> None:
    assert window.count.text() == "2 cells"
    assert window.sizes.values.tolist() == [30, 20]
    assert window.sizes.unit == "px"
    for number, columns in ((1, 0), (2, 1)):
        window.scope.setCurrentIndex(number)
        assert window.count.text() == "2 cells"
        assert window.model.columnCount() == len(TABLE) - 2 + columns
    assert window.model.table["image"].tolist() == ["blobs", "blobs"]


def test_a_row_shows_its_cell(
    window: CellTableWindow, workspace: Workspace, qtbot: QtBot
) -> None:
    (results,) = workspace.prediction.results.values()
    canvas = QWidget()
    qtbot.addWidget(canvas)
    canvas.resize(300, 200)
    pointer = CanvasPointer(canvas, workspace)
    window.view.selectRow(1)
    # a cross marks it in the middle
    assert not pointer.isHidden()
    assert pointer._at == QPointF(canvas.rect().center())
    layer = results.layer("cells")
    assert layer is not None
    assert layer.selected_label == 2
    viewer = workspace.viewer
    # where keys mean predicted cells
    assert viewer.layers.selection.active is layer
    camera = getattr(viewer, "scene", viewer).camera
    assert tuple(camera.center)[-2:] == (2, 7)


def test_a_click_on_a_cell_chooses_its_row(
    window: CellTableWindow, workspace: Workspace
) -> None:
    def click(x: float, moved: float = 0.0) -> None:
        event = SimpleNamespace(
            position=(2.0, x), pos=np.zeros(2), type="mouse_press", button=1
        )
        running = window._on_press(workspace.viewer, event)
        next(running)
        if moved:
            event.type, event.pos = "mouse_move", np.array([moved, 0])
            next(running)
        event.type = "mouse_release"
        next(running, None)

    click(7)
    assert window.view.currentIndex().row() == 1
    click(2, moved=30)
    assert window.view.currentIndex().row() == 1
    click(2)
    assert window.view.currentIndex().row() == 0
    # it stays with its cell when rows are sorted, or measured again under other ids
    window.model.sort(1)
    other = {
        name: np.roll(column, 1) if name != "label" else column
        for name, column in TABLE.items()
    }
    tables = workspace.prediction.tables
    tables._tables = dict.fromkeys(tables._tables, other)
    window.refresh()
    row = window.model.row_of(window.view.currentIndex())
    assert window.model.table["label"][row] == 2
    # and there is none when that cell is gone
    gone = {name: column[:1] for name, column in other.items()}
    tables._tables = dict.fromkeys(tables._tables, gone)
    window.refresh()
    assert not window.view.currentIndex().isValid()


def test_nothing_is_measured_for_a_window_that_is_closed(
    window: CellTableWindow, workspace: Workspace, fake: FakeWorker
) -> None:
    window.close()
    assert window._on_press not in workspace.viewer.mouse_drag_callbacks
    count = len(fake.jobs(MeasureJob))
    workspace.prediction.set_segmentation(
        workspace.prediction.segmentation.replace(threshold=0.9)
    )
    while fake.running(SegmentJob):
        fake.find_cells(fake.running(SegmentJob)[0], 2)
    assert len(fake.jobs(MeasureJob)) == count


def test_cells_of_a_movie_are_counted_in_its_time_points(
    window: CellTableWindow, workspace: Workspace
) -> None:
    (image_id,) = workspace.prediction.results
    movie = TABLE | {"t": np.array([0, 3])}
    workspace.prediction.tables._tables[image_id] = movie
    window.scope.setCurrentIndex(window.scope.findData("image"))
    assert window.count.text() == "2 cells in 2 time points"


def test_images_of_one_name_are_told_apart(
    window: CellTableWindow, workspace: Workspace, fake: FakeWorker
) -> None:
    first = workspace.store.project.images[0].id
    # napari has no two layers of one name at a time
    workspace.viewer.layers.remove(workspace.images.layers(first)[0])
    layer = workspace.viewer.add_image(np.zeros((8, 10), np.uint8), name="blobs")
    second = workspace.images.add([layer]).id
    assert {image.name for image in workspace.store.project.images} == {"blobs"}
    tables = workspace.prediction.tables
    workspace.prediction.predict("slice")
    (handle,) = fake.running(PredictJob)
    fake.predict(handle)
    fake.end(handle)
    tables._tables[second] = TABLE
    window.scope.setCurrentIndex(window.scope.findData("images"))
    assert window.count.text() == "4 cells"
    assert len(set(window.model.table["image"].tolist())) == 2
    # a row of the first shows that
    window.view.selectRow(0)
    current = workspace.images.current
    assert current is not None
    assert current.id == first


def test_another_image_that_is_looked_at_has_its_own_cells(
    window: CellTableWindow, workspace: Workspace
) -> None:
    (first,) = workspace.store.project.images
    layer = workspace.viewer.add_image(np.zeros((9, 9), np.uint8), name="new")
    workspace.images.add([layer])
    assert window.model.rowCount() == 0
    assert window.count.text() == "This slice is not predicted yet."
    workspace.images.set_current(first.id)
    assert window.count.text() == "2 cells"


def test_rows_stay_sorted_by_their_column_in_every_scope(
    window: CellTableWindow,
) -> None:
    header = window.view.horizontalHeader()
    assert header.sortIndicatorSection() == -1
    window.view.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert texts(window.model, 1) == ["20", "30"]
    # a column with the names of images comes first
    window.scope.setCurrentIndex(window.scope.findData("images"))
    assert header.sortIndicatorSection() == 2
    assert texts(window.model, 2) == ["20", "30"]
    window.scope.setCurrentIndex(0)
    assert header.sortIndicatorSection() == 1
    assert texts(window.model, 1) == ["20", "30"]


def test_the_table_leaves_the_cell_of_a_row_in_sight(
    window: CellTableWindow, qtbot: QtBot
) -> None:
    canvas = QWidget()
    qtbot.addWidget(canvas)
    canvas.setGeometry(700, 300, 300, 200)
    canvas.show()
    qtbot.waitExposed(canvas)
    window.stand_beside(canvas)
    middle = canvas.mapToGlobal(canvas.rect().center())
    assert not window.geometry().contains(middle)
