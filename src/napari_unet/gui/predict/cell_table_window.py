"""The predicted cells in a table, counted, and how their sizes are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QLabel,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_unet.core.cells.table_parts import histogram, row_near, size_column
from napari_unet.core.text import counted
from napari_unet.gui.theme import colours, is_dark
from napari_unet.gui.widgets import blocked, follow, row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from qtpy.QtGui import QPaintEvent

    from napari_unet.core.cells.measurements import Columns
    from napari_unet.session.workspace import Workspace

_SCOPES = {
    "slice": "This slice",
    "image": "This image",
    "images": "All predicted images",
}
# At the end of the name of a column, which is that of a file.
_UNITS = {"um": "µm", "um2": "µm²", "um3": "µm³"}
# Pixels of the screen that the mouse may move within a click.
_STILL = 4
_DIGITS = 4
# Of the window, and how far it stands from the middle of the canvas.
_WIDTH, _HEIGHT, _CLEAR = 600, 480, 60
# Larger sizes are written without decimals.
_WHOLE = 100


class CellTableModel(QAbstractTableModel):
    """A table of any number of rows: Qt asks only for those in sight."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.table: Columns = {}
        self._names: list[str] = []
        self._order: NDArray[np.intp] = np.arange(0)
        # the column that the rows are sorted by, wherever it stands; none at first
        self.sorted_by = ""

    def set_table(self, table: Columns) -> None:
        """Show another table, in its own order."""
        self.beginResetModel()
        self.table = table
        # image, label and size come first, to be seen without scrolling
        first = [n for n in ("image", "label", size_column(table)) if n in table]
        # a plain image has neither slices nor time points
        rest = (n for n in table if n not in "tz" or np.any(table[n]))
        self._names = list(dict.fromkeys([*first, *rest]))
        self._order = np.arange(len(next(iter(table.values()), ())))
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of cells."""
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._names)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what stands in a field: numbers with some digits."""
        if not index.isValid():
            return None
        value = self.table[self._names[index.column()]][self._order[index.row()]]
        number = isinstance(value, np.number)
        if role == Qt.ItemDataRole.DisplayRole:
            rounded = isinstance(value, np.floating)
            if rounded and np.isnan(value):
                return ""
            return f"{value:.{_DIGITS}g}" if rounded else str(value)
        if role == Qt.ItemDataRole.TextAlignmentRole and number:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Return the name of a column, or the number of a row, from 1."""
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if orientation == Qt.Orientation.Horizontal:
            return _in_words(self._names[section])
        return str(section + 1)

    def sort(
        self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder
    ) -> None:
        """Sort the rows by a column; equal ones stay in their order."""
        if not 0 <= column < len(self._names):
            return
        self.sorted_by = self._names[column]
        self.layoutAboutToBeChanged.emit()
        # the chosen row stays chosen, wherever it moves
        kept = self.persistentIndexList()
        rows = [self.row_of(index) for index in kept]
        self._order = np.argsort(self.table[self._names[column]], kind="stable")
        if order == Qt.SortOrder.DescendingOrder:
            self._order = self._order[::-1]
        places = np.argsort(self._order)
        moved = [
            self.index(int(places[number]), index.column())
            for number, index in zip(rows, kept, strict=True)
        ]
        self.changePersistentIndexList(kept, moved)
        self.layoutChanged.emit()

    @property
    def sorted_column(self) -> int:
        """Number of the column that the rows are sorted by; -1 for none."""
        known = self.sorted_by in self._names
        return self._names.index(self.sorted_by) if known else -1

    def row_of(self, index: QModelIndex) -> int:
        """Return the row of the table that is shown at a place."""
        return int(self._order[index.row()])

    def place_of(self, row: int) -> QModelIndex:
        """Return where a row of the table is shown."""
        places = np.flatnonzero(self._order == row)
        return self.index(int(places[0]), 0) if len(places) else QModelIndex()


class Histogram(QWidget):
    """The distribution of sizes, with the smallest, the median and the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.values: NDArray[np.float64] = np.zeros(0)
        self.unit = ""
        self.setMinimumHeight(72)
        self.setToolTip("How many cells (height) have which size (from left to right).")
        self.setAccessibleName("Histogram of sizes")

    def set_values(self, values: NDArray[np.float64], unit: str) -> None:
        """Show other values."""
        self.values, self.unit = values, unit
        self.update()

    def sizeHint(self) -> QSize:
        """Return a size of some lines of text."""
        return QSize(300, 84)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the bars, and a line below with the limits."""
        if not len(self.values):
            return
        painter = QPainter(self)
        counts, edges = histogram(self.values)
        line = painter.fontMetrics().height()
        height, width = self.height() - line - 2, self.width() / len(counts)
        bar = QColor(colours(is_dark(self)).first)
        for number, count in enumerate(counts.tolist()):
            high = round(height * count / counts.max())
            left = round(number * width)
            right = round((number + 1) * width) - 1
            painter.fillRect(left, height - high, max(right - left, 1), high, bar)
        below = self.rect().adjusted(0, height + 2, 0, 0)
        flags = Qt.AlignmentFlag
        painter.drawText(below, int(flags.AlignLeft), _short(edges[0]))
        middle = f"median {_short(np.median(self.values))} {self.unit}"
        painter.drawText(below, int(flags.AlignHCenter), middle)
        painter.drawText(below, int(flags.AlignRight), _short(edges[-1]))


class CellTableWindow(QDialog):
    """Shows the cells of a slice, an image or all of them beside napari.

    A row that is chosen shows its cell, a cell that is clicked on chooses its row.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Cells")
        self._prediction, self._viewer = workspace.prediction, workspace.viewer
        self._tables, self._images = workspace.prediction.tables, workspace.images
        self._image_id: str | None = None
        # WIDGETS
        self.scope = QComboBox()
        for key, name in _SCOPES.items():
            self.scope.addItem(name, key)
        self.scope.setToolTip("Which cells are counted and listed.")
        self.count = QLabel()
        self.sizes = Histogram()
        self.model = CellTableModel(self)
        self.view = QTableView()
        self.view.setModel(self.model)
        self.view.setSortingEnabled(True)
        # as wide as what is in sight, however many rows there are
        self.view.horizontalHeader().setResizeContentsPrecision(0)
        self.view.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        # the Tab key goes on to the other controls
        self.view.setTabKeyNavigation(False)
        self.view.setAccessibleName("Cells")
        self.view.setToolTip(
            "A row that is chosen shows its cell; a click on a cell chooses its row."
        )
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.addLayout(row(self.scope, self.count, stretch=1))
        layout.addWidget(self.sizes)
        layout.addWidget(self.view, 1)
        self.resize(_WIDTH, _HEIGHT)
        # CONNECTIONS
        self.finished.connect(self.deleteLater)
        self.scope.currentIndexChanged.connect(self.refresh)
        self.view.selectionModel().currentRowChanged.connect(self._on_row)
        follow(self, self._tables.changed, self.refresh)
        follow(self, workspace.prediction.changed, self._on_changed)
        follow(self, workspace.images.current_changed, self._on_current)
        self._viewer.mouse_drag_callbacks.append(self._on_press)
        self._tables.watch()
        self.refresh()

    def stand_beside(self, canvas: QWidget) -> None:
        """Leave the middle of the canvas in sight, where a row shows its cell."""
        middle = canvas.mapToGlobal(canvas.rect().center())
        screen = self.screen()
        least = 0 if screen is None else screen.availableGeometry().left()
        left = max(middle.x() - _CLEAR - self.width(), least)
        self.move(left, middle.y() - self.height() // 2)

    def done(self, result: int) -> None:
        """Stop measuring, however the window is closed."""
        callbacks = self._viewer.mouse_drag_callbacks
        if self._on_press in callbacks:
            callbacks.remove(self._on_press)
            self._tables.rest()
        super().done(result)

    def refresh(self, *_: object) -> None:
        """Show what is measured of the scope."""
        image = self._images.current
        self._image_id = None if image is None else image.id
        part = "slice" if image is None else image.part_word()
        self.scope.setItemText(0, f"This {part}")
        table = self._tables.table(self.scope.currentData())
        chosen = self._chosen_place()
        self.model.set_table(table)
        header = self.view.horizontalHeader()
        # tables of several images have a column more; the view sorts by the indicator
        order = header.sortIndicatorOrder()
        with blocked(header):
            header.setSortIndicator(self.model.sorted_column, order)
        self.model.sort(self.model.sorted_column, order)
        number = len(table["label"]) if table else 0
        what = "Measuring …" if self._tables.measuring else self._why_none(part)
        size = size_column(table)
        frames = len(np.unique(table["t"])) if number and "image" not in table else 1
        # a cell is counted in each time point
        over = f" in {frames} time points" if frames > 1 else ""
        self.count.setText(f"{counted(number, 'cell')}{over}" if number else what)
        unit = _in_words(size).rpartition(" ")[2]
        values = table[size].astype(float) if size else np.zeros(0)
        self.sizes.set_values(values, unit)
        self.view.resizeColumnsToContents()
        same = None if chosen is None else row_near(table, *chosen)
        if same is not None:
            self._choose(same)

    def _why_none(self, part: str) -> str:
        """Say why no cells are listed: not predicted, or none found."""
        here = self.scope.currentData() == "slice"
        if here and self._prediction.cells_in_view() is None:
            return f"This {part} is not predicted yet."
        return "No cells."

    def _on_changed(self) -> None:
        # another slice is in view, or cells are found
        if self.scope.currentData() != "images" or not self.model.rowCount():
            self.refresh()

    def _on_current(self) -> None:
        # the same image is current again whenever a layer of it is chosen
        image = self._images.current
        if self._image_id != (None if image is None else image.id):
            self._on_changed()

    def _chosen_place(self) -> tuple[Columns, int] | None:
        """Return the table and row that is chosen: ids change with the threshold."""
        index = self.view.selectionModel().currentIndex()
        if not index.isValid():
            return None
        return self.model.table, self.model.row_of(index)

    def _on_row(self, index: QModelIndex, _before: QModelIndex) -> None:
        if index.isValid():
            self._tables.show(self.model.table, self.model.row_of(index))

    def _choose(self, table_row: int) -> None:
        """Mark a row, but do not go to its cell: that is what was clicked on."""
        selection = self.view.selectionModel()
        selection.blockSignals(True)
        index = self.model.place_of(table_row)
        self.view.setCurrentIndex(index)
        self.view.scrollTo(index)
        selection.blockSignals(False)
        self.view.viewport().update()

    def _on_press(self, _viewer: ViewerModel, event: Any) -> Iterator[None]:
        position, start = event.position, np.array(event.pos)
        yield
        moved = False
        while event.type == "mouse_move":
            moved = moved or bool(np.abs(event.pos - start).max() > _STILL)
            yield
        if not moved:
            found = self._tables.row_at(self.model.table, position)
            if found is not None:
                self._choose(found)


def _in_words(column: str) -> str:
    """Return the name of a column as people write it, such as "area µm²"."""
    words = column.split("_")
    return " ".join([*words[:-1], _UNITS.get(words[-1], words[-1])])


def _short(value: float) -> str:
    """Write a size with three digits, but no exponent where it is large."""
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.3g}"
