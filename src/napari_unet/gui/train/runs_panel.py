"""The runs of the project: a list, what can be done with one, and two compared."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLineEdit,
    QMessageBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_unet.core.text import counted
from napari_unet.gui.annotate.item_list import ItemList
from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.dialogs import ask_folder, dialog_buttons
from napari_unet.gui.model_card_dialog import ModelCardDialog, curve_of
from napari_unet.gui.pictures import Picture
from napari_unet.gui.widgets import (
    ButtonRow,
    Heading,
    Hint,
    allow,
    blocked,
    buttons,
    column,
    follow,
)
from napari_unet.session.annotating.shortcuts import readable
from napari_unet.session.training.masks_compared import ComparedMasks
from napari_unet.session.training.runs import differences, same_parts

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_unet.session.training.runs import Run
    from napari_unet.session.workspace import Workspace

# In pixels of the screen: of a picture of masks, and the height of a curve.
_SIDE, _CURVE = 260, 140
_ONE = "Choose one run."
_TWO = f"Choose two runs, with {readable('Control')} held down."
_NOT_KEPT = "It was trained before runs were kept: there is no place for notes."


class RunsPanel(QWidget):
    """Lists the runs of a workspace's project, the latest first."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._runs = workspace.runs
        # as listed, and the model of the run whose notes are shown
        self._listed: tuple[Run, ...] = ()
        self._noted: Path | None = None
        # WIDGETS
        self.empty = Hint("Nothing was trained in this project yet: press Train below.")
        self.list = ItemList()
        self.list.setAccessibleName("Runs")
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.notes = QLineEdit()
        self.notes.setPlaceholderText("Notes on this run")
        self.notes.setToolTip("Kept with the run.")
        self.card, self.compare, self.rename, self.export, self.delete = buttons(
            ("Card…", "What the model is, and its paragraph for a paper."),
            ("Compare…", "Curves, settings and masks of two runs, side by side."),
            ("Rename…", "Give run and model another name."),
            ("Export…", "Copy model and run, which napari-unet replay repeats."),
            ("Delete…", "Remove run and model."),
        )
        # LAYOUT
        self._buttons = ButtonRow(
            self.card, self.compare, self.rename, self.export, self.delete
        )
        column(self, self.empty, self.list, self.notes, self._buttons, inner=True)
        # CONNECTIONS
        self.list.itemSelectionChanged.connect(self._on_selected)
        self.list.itemDoubleClicked.connect(self._on_card)
        self.notes.editingFinished.connect(self._on_notes)
        self.card.clicked.connect(self._on_card)
        self.compare.clicked.connect(self._on_compare)
        self.rename.clicked.connect(self._on_rename)
        self.export.clicked.connect(self._on_export)
        self.delete.clicked.connect(self._on_delete)
        follow(self, self._runs.changed, self._show)
        self._show()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look for runs that ended while this was hidden."""
        super().showEvent(event)
        self._runs.refresh()

    @property
    def chosen(self) -> list[Run]:
        """The runs that are marked, in the order of the list."""
        marked = (self.list.row(item) for item in self.list.selectedItems())
        return [self._listed[number] for number in sorted(marked)]

    def _show(self) -> None:
        # a run that has ended comes first: all others move down
        marked = {run.path for run in self.chosen}
        entries = self._listed = self._runs.entries
        self.empty.setVisible(not entries)
        for part in (self.list, self.notes, self._buttons):
            part.setVisible(bool(entries))
        with blocked(self.list):
            for item, run in zip(
                self.list.resize_to(len(entries)), entries, strict=True
            ):
                item.setText(f"{run.name}\n{run.line}")
                tip = f"{run.path}\nEnded {run.when}"
                item.setToolTip(f"{tip}\n{run.notes}" if run.notes else tip)
            self._mark(marked)
        self.list.fit_height()
        self._on_selected()

    def _mark(self, paths: set[Path]) -> None:
        for number, run in enumerate(self._listed):
            self.list.item(number).setSelected(run.path in paths)

    def _now(self, run: Run) -> Run:
        """Return a run as it is by now, with its notes; ValueError if it is gone."""
        for one in self._runs.entries:
            if one.path == run.path:
                return one
        raise ValueError(f"{run.name}: there is no such run any more.")

    def _on_selected(self) -> None:
        chosen = self.chosen
        one = len(chosen) == 1
        for part in (self.card, self.rename, self.export, self.delete):
            allow(part, one, _ONE)
        allow(self.compare, len(chosen) == 2, _TWO)
        kept = one and chosen[0].record is not None
        allow(self.notes, kept, _NOT_KEPT if one else _ONE)
        noted = chosen[0].path if one else None
        if noted is None or noted != self._noted:
            # else they may be being typed
            with blocked(self.notes):
                self.notes.setText(chosen[0].notes if one else "")
        self._noted = noted

    def _on_notes(self) -> None:
        chosen = self.chosen
        if len(chosen) == 1 and self.notes.text() != chosen[0].notes:
            with report_errors(self._workspace):
                self._runs.set_notes(chosen[0], self.notes.text())

    def _on_card(self) -> None:
        for run in self.chosen[:1]:
            ModelCardDialog(run.path, run.card, self).open()

    def _on_compare(self) -> None:
        later, earlier = self.chosen
        CompareDialog(self._workspace, earlier, later, self).open()

    def _on_rename(self) -> None:
        # by the time of the answer, another training may have ended
        run = self.chosen[0]
        dialog = QInputDialog(self)
        dialog.setWindowTitle("Rename run")
        dialog.setLabelText("Name of run and model:")
        dialog.setTextValue(run.name)
        dialog.textValueSelected.connect(partial(self.rename_to, run))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def rename_to(self, run: Run, name: str) -> None:
        """Give a run another name."""
        with report_errors(self._workspace):
            if name != run.name:
                models, path = self._workspace.models, run.path
                before = next((e for e in models.entries if e.path == path), None)
                path = self._runs.rename(self._now(run), name)
                if before is not None:
                    self._workspace.prediction.use_instead(before, path)
                self._mark({path})

    def _on_export(self) -> None:
        export = partial(self.export_to, self.chosen[0])
        ask_folder(self, "Export run into a folder", export)

    def export_to(self, run: Run, folder: str) -> None:
        """Copy a run into a folder."""
        with report_errors(self._workspace):
            there = self._runs.export(self._now(run), Path(folder))
            self._workspace.message.emit("info", f"Copied to {there}.")

    def _on_delete(self) -> None:
        run = self.chosen[0]
        box = QMessageBox(
            QMessageBox.Icon.Warning,
            "Delete run",
            f"Delete “{run.name}”, its model and its record? This cannot be undone.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            self,
        )
        box.setDefaultButton(QMessageBox.StandardButton.Cancel)
        box.accepted.connect(partial(self.remove, run))
        box.finished.connect(box.deleteLater)
        box.open()

    def remove(self, run: Run) -> None:
        """Remove a run and its model."""
        with report_errors(self._workspace):
            self._runs.delete(self._now(run))
            self._workspace.models.refresh()


class CompareDialog(QDialog):
    """Two runs side by side: curves, masks of the slice in view, what differs."""

    def __init__(
        self, workspace: Workspace, one: Run, other: Run, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Compare runs")
        self._masks = ComparedMasks(
            workspace.images,
            workspace.worker,
            workspace.preferences.prediction(),
            (one.path, other.path),
        )
        rows = differences(one, other)
        # WIDGETS
        self.pictures = Picture(_SIDE), Picture(_SIDE)
        self.counts = Hint(), Hint()
        self.table = QTableWidget(len(rows), 3)
        self.table.setHorizontalHeaderLabels(["", one.name, other.name])
        self.table.setTabKeyNavigation(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        for number, texts in enumerate(rows):
            for place, text in enumerate(texts):
                self.table.setItem(number, place, QTableWidgetItem(text))
        header = self.table.horizontalHeader()
        if header is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        names = self.table.verticalHeader()
        if names is not None:
            names.setVisible(False)
        same = same_parts(one.card, other.card)
        self.judged = Hint(
            "Both were judged by the same held-out parts."
            if same
            else "They were not judged by the same held-out parts: their scores do "
            "not say which is better.",
            "info" if same else "warning",
        )
        self.masks = Hint()
        # LAYOUT
        sides, layout = QHBoxLayout(), QVBoxLayout(self)
        for run, picture, count in zip(
            (one, other), self.pictures, self.counts, strict=True
        ):
            picture.setAccessibleName(f"Masks of {run.name}")
            part, curve = QWidget(), curve_of(run.card)
            curve.setFixedHeight(_CURVE)
            what = (Heading(run.name), Hint(run.line), curve)
            column(part, *what, picture, count, inner=True)
            sides.addWidget(part)
        layout.addLayout(sides)
        layout.addWidget(self.masks)
        layout.addWidget(self.judged)
        layout.addWidget(self.table, 1)
        layout.addWidget(dialog_buttons(self, "Close"))
        self.resize(680, 680)
        self.setWindowFlag(Qt.WindowType.WindowContextHelpButtonHint, False)
        # CONNECTIONS
        self.finished.connect(self.deleteLater)
        follow(self, self._masks.changed, self._show_masks)
        self._show_masks()

    def done(self, result: int) -> None:
        """Stop predicting, however the dialog is closed."""
        self._masks.close()
        super().done(result)

    def _show_masks(self) -> None:
        found = self._masks.found
        self.masks.setText(self._masks.sentence)
        for part in (*self.pictures, *self.counts):
            part.setVisible(found is not None)
        if found is None:
            return
        for picture, count, mask, alone in zip(
            self.pictures, self.counts, found.masks, found.alone, strict=True
        ):
            picture.show_pixels(found.grey, mask, alone.tolist())
            cells = counted(len(np.unique(mask[mask > 0])), "cell")
            left = f", {len(alone)} of them (orange) not on the other side"
            of_cells = found.of_cells
            count.setText(f"{cells}{left if len(alone) else ''}." if of_cells else "")
