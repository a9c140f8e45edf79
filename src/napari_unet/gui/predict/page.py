"""The page of the Predict dock: model, image, cells, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_unet.core.text import counted
from napari_unet.gui.annotate.report_errors import report_errors, reporting
from napari_unet.gui.canvas_pointer import canvas_of
from napari_unet.gui.cell_tools import CellTools
from napari_unet.gui.predict.cell_table_window import CellTableWindow
from napari_unet.gui.predict.denoise_panel import DenoisePanel
from napari_unet.gui.predict.export_dialog import ExportDialog
from napari_unet.gui.predict.learning_panel import LearningPanel
from napari_unet.gui.predict.model_chooser import ModelChooser, model_in
from napari_unet.gui.predict.model_export_dialog import ModelExportDialog
from napari_unet.gui.predict.region_panel import RegionPanel
from napari_unet.gui.predict.run_panel import RunPanel
from napari_unet.gui.predict.segmentation_panel import SegmentationPanel
from napari_unet.gui.widgets import (
    ButtonRow,
    Fold,
    Heading,
    Hint,
    allow,
    buttons,
    column,
    follow,
)
from napari_unet.session.annotating.shortcuts import readable

if TYPE_CHECKING:
    from qtpy.QtGui import (
        QDragEnterEvent,
        QDropEvent,
        QEnterEvent,
        QHideEvent,
        QShowEvent,
    )

    from napari_unet.session.workspace import Workspace

# Several things may change at once; the page is updated once.
_PAUSE_MS = 30
_FIRST = "Predict this slice first."
_REGIONS = "The model finds regions: they are shown as classes, there are no cells."


class PredictPage(QWidget):
    """Predicts images of a workspace; model files can be dropped on it."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._control = workspace.prediction
        self.setAcceptDrops(True)
        self.models = ModelChooser(
            workspace.models,
            workspace.foreign_models,
            workspace.prediction.starter_choice,
        )
        self.run = RunPanel(workspace)
        self.cells = SegmentationPanel(workspace)
        self.regions = RegionPanel(workspace)
        self.denoise = DenoisePanel(workspace)
        self.learning = LearningPanel(workspace)
        self.count = Hint()
        self.tools = CellTools(workspace, "cells")
        self.table, self.points, self.forget = buttons(
            (
                "Table…",
                "All cells with their measurements, counted, and how their sizes are "
                "spread; a row shows its cell.",
            ),
            (
                "Show points",
                "A layer with a point in each cell, with its class and confidence; it "
                "follows the threshold.",
            ),
            (
                "Forget edits",
                "Let the cells of the slice in view be as found; "
                f"{readable('Control-Z')} brings edits back.",
            ),
        )
        self.use_slice, self.use_looked_at = buttons(
            (
                "This slice",
                "Turn the cells of the slice in view into annotation, to be corrected.",
            ),
            (
                "Looked at",
                "Turn the cells of the slice in view that were accepted or edited into "
                "annotation, and into background where there is none in truth.",
            ),
        )
        self.export, self.export_model = buttons(
            (
                "Export…",
                "Write masks, a table of measurements or probabilities into files.",
            ),
            ("Export model…", "Write the chosen model for another program."),
        )
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._lay_out()
        self._connect()
        self._show()

    def _lay_out(self) -> None:
        self._results = QWidget()
        self._of_cells = (
            Heading("Cells"),
            self.cells,
            ButtonRow(self.table, self.points, self.forget),
        )
        self._of_regions = (Heading("Regions"), self.regions)
        heading, settings, points = self._of_cells
        column(
            self._results,
            heading,
            settings,
            *self._of_regions,
            points,
            Heading("Use as annotation"),
            ButtonRow(self.use_slice, self.use_looked_at),
            Heading("Corrections"),
            self.learning,
            Heading("Files"),
            ButtonRow(self.export, self.export_model),
            inner=True,
        )
        begin = (Heading("Model"), self.models, Heading("Predict"), self.run)
        # the dock keeps these in sight, however long the page becomes
        self.pinned = QWidget()
        parts = (self.count, self.tools, self.learning.status)
        column(self.pinned, *parts, inner=True)
        denoise = Fold("Denoise", self.denoise)
        column(self, *begin, denoise, self._results, self.pinned)

    def _connect(self) -> None:
        workspace = self._workspace
        self.models.problem.connect(self._on_problem)
        self.points.clicked.connect(self._on_points)
        self.table.clicked.connect(self._on_table)
        self.use_slice.clicked.connect(self._on_use_slice)
        self.use_looked_at.clicked.connect(self._on_use_looked_at)
        forget = reporting(workspace, workspace.editor.forget)
        self.forget.clicked.connect(forget)
        self.export.clicked.connect(self._on_export)
        self.export_model.clicked.connect(self._on_export_model)
        self._timer.timeout.connect(self._show)
        for signal in (
            self._control.changed,
            workspace.images.changed,
            workspace.images.current_changed,
            workspace.models.changed,
            workspace.models.selected_changed,
            workspace.foreign_models.changed,
        ):
            follow(self, signal, self._soon)
        follow(self, workspace.editor.changed, self._soon)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look for new models, and at what changed while the page was hidden."""
        super().showEvent(event)
        self._workspace.models.refresh()
        self._show()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Leave the mouse to napari."""
        super().hideEvent(event)
        if self._workspace.editor.target == "cells":
            self._workspace.editor.put_away()

    def enterEvent(self, event: QEnterEvent | None) -> None:
        """Have the worker read the model: a prediction is likely to follow."""
        super().enterEvent(event)
        self._control.warm_up()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take model files; leave others to napari."""
        if event is not None and model_in(event.mimeData()) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Choose the model that was dropped."""
        path = model_in(event.mimeData()) if event is not None else None
        if event is not None and path is not None:
            event.acceptProposedAction()
            self.models.open_file(path)

    def _soon(self, *_: object) -> None:
        if self.isVisible() and not self._timer.isActive():
            self._timer.start()

    def _show(self) -> None:
        self.run.refresh()
        usable = bool(self._workspace.models.entries)
        self.run.setEnabled(usable)
        self._results.setVisible(usable)
        results = self._control.results_in_view()
        number = self._control.cells_in_view()
        card = self._workspace.models.card
        kinds = {c.kind for c in card.classes} if card is not None else set()
        only_regions = kinds == {"regions"}
        for part in self._of_cells:
            part.setVisible(not only_regions)
        count, why = "Cells appear here when a slice is predicted.", _FIRST
        for part in self._of_regions:
            part.setVisible("regions" in kinds)
        if number is not None and results is not None:
            word = results.image.part_word(results.cells.ndim)
            count = f"{counted(number, 'cell')} in this {word}."
        elif results is not None and not results.has_cells:
            count = why = _REGIONS
        elif only_regions:
            count, why = "", _REGIONS
        self.count.setText(count)
        allow(self.use_slice, bool(number), why)
        has_cells = (
            results is not None and results.has_cells and bool(results.cells.version)
        )
        self.tools.setVisible(has_cells)
        for part in (self.use_looked_at, self.tools, self.forget):
            allow(part, has_cells, why)
        allow(self.points, has_cells, why)
        allow(self.table, has_cells, why)
        allow(self.export, results is not None, "Predict an image first.")
        foreign = self._workspace.foreign_models
        why = foreign.status if foreign.running else "Choose a model."
        allow(self.export_model, card is not None and not foreign.running, why)

    def _on_problem(self, sentence: str) -> None:
        self._workspace.message.emit("error", sentence)

    def _on_use_slice(self) -> None:
        with report_errors(self._workspace):
            self._tell_used(self._workspace.editor.use_slice())

    def _on_use_looked_at(self) -> None:
        with report_errors(self._workspace):
            self._tell_used(self._workspace.editor.use_looked_at())

    def _on_points(self) -> None:
        if (image := self._workspace.images.current) is not None:
            self._control.points.show(image.id)

    def _on_table(self) -> None:
        table = CellTableWindow(self._workspace, self.window())
        canvas = canvas_of(self.window())
        if canvas is not None:
            table.stand_beside(canvas)
        table.show()

    def _tell_used(self, number: int) -> None:
        sentence = "The cells of this slice are annotated already."
        if number:
            cells = counted(number, "cell is", "cells are")
            sentence = f"{cells} annotation now: correct them and train again."
        self._workspace.message.emit("info", sentence)

    def _on_export_model(self) -> None:
        entry = self._workspace.models.entry
        if entry is not None:
            ModelExportDialog(self._workspace.foreign_models, entry, self).open()

    def _on_export(self) -> None:
        image = self._workspace.images.current
        if image is None:
            return
        others = tuple(i for i in self._control.results if i != image.id)
        exporter, folder = self._control.exporter, self._control.targets.folder()
        ExportDialog(exporter, (image.id, *others), folder, self).open()
