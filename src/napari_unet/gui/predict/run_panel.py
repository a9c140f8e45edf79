"""What to predict, the Predict button, and the progress."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QWidget

from napari_unet.core.settings import Prediction
from napari_unet.gui.compute_box import PREDICT_TIP, ComputeBox
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.predict.folder_dialog import FolderDialog
from napari_unet.gui.predict.folder_panel import FolderPanel
from napari_unet.gui.progress_bar import ProgressBar
from napari_unet.gui.widgets import (
    Elided,
    Fold,
    Hint,
    allow,
    button,
    choice_box,
    column,
    follow,
    row,
)

if TYPE_CHECKING:
    from napari_unet.session.workspace import Workspace

_EXTENTS = {
    "slice": ("This slice", "The slice in view."),
    "view": ("This view", "What the canvas shows of the slice."),
    "layer": ("Whole image", "All slices and time points, the one in view first."),
    "images": ("All open images", "One after the other, where the model fits."),
    "folder": ("Folder of images…", "Image files, into files in another folder."),
}
_TICKS = 1000


class RunPanel(QWidget):
    """Begins and cancels predictions."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._control = workspace.prediction
        self._models = workspace.models
        # WIDGETS
        self.extent = choice_box(_EXTENTS)
        self.extent.setAccessibleName("How much to predict")
        self.compute = ComputeBox(workspace.prediction_place, PREDICT_TIP)
        self.predict = button("Predict", "Find the cells with the chosen model.")
        self.cancel = button("Cancel", "Stop at the next tile; what is done stays.")
        self.image = Elided()
        self.progress = ProgressBar()
        self.progress.setRange(0, _TICKS)
        self.progress.setToolTip("How much of what was asked for is predicted.")
        self.status = Elided()
        self.hint = Hint()
        self.folder = FolderPanel(self._control)
        self.form = SettingsForm(Prediction, ("averaging", "tile"))
        # LAYOUT
        self.options = Fold("Options", self.form)
        column(
            self,
            self.image,
            self.extent,
            self.compute,
            row(self.predict, self.cancel, stretch=0),
            self.progress,
            self.status,
            self.hint,
            self.folder,
            self.options,
            inner=True,
        )
        # CONNECTIONS
        self.predict.clicked.connect(self._on_predict)
        self.cancel.clicked.connect(self._control.cancel)
        self.extent.currentIndexChanged.connect(self.refresh)
        follow(self, self._control.progressed, self._show_progress)

    def refresh(self, *_: object) -> None:
        """Show what is running and what can be done."""
        control, targets = self._control, self._control.targets
        problem = resampling = ""
        # folders and all open images do not depend on what is in view
        if self.extent.currentData() not in ("folder", "images"):
            problem, resampling = targets.problem(), targets.resampling()
        self.image.setText(targets.name() or "No image is open.")
        self.extent.setItemText(0, f"This {targets.part_word()}")
        focused = self.predict.hasFocus() or self.cancel.hasFocus()
        runs = "It runs already."
        allow(self.predict, not control.busy and not problem, problem or runs)
        allow(self.cancel, control.busy, "Nothing runs.")
        if focused:
            # what is disabled loses it, and the keyboard its place
            (self.cancel if control.busy else self.predict).setFocus()
        self.compute.allow(not control.busy, "It can be changed when this has ended.")
        self._show_progress(control.progress)
        self.progress.setVisible(control.busy)
        self.status.setText(control.status)
        self.status.setVisible(bool(control.status))
        self.folder.refresh()
        # without a model the chooser says so
        known = self._models.card is not None or self._models.automatic
        shown = problem if known else ""
        self.hint.setText(shown or resampling, "warning" if resampling else "info")

    def _on_predict(self) -> None:
        form = self.form.value()
        options: dict[str, Any] = {"averaging": form.averaging, "tile": form.tile}
        extent = self.extent.currentData()
        if extent != "folder":
            self._control.predict(extent, **options)
            return
        begin = partial(self._control.predict_folder, **options)
        source, card = self._control.targets.folder(), self._models.card
        where = self._control.place.where
        FolderDialog(begin, source, card, self, where=where).open()

    def _show_progress(self, share: float) -> None:
        self.progress.setValue(int(_TICKS * share))
