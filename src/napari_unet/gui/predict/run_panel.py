"""What to predict, the button that does it, and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_unet.core.settings import Prediction
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.layouts import row
from napari_unet.gui.predict.outcome_panel import OutcomePanel
from napari_unet.gui.progress_bar import ProgressBar
from napari_unet.gui.widgets import (
    SPACING,
    Elided,
    Fold,
    Hint,
    allow,
    follow,
    guard_wheel,
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
    """Begins and cancels predictions.

    Parameters
    ----------
    workspace : Workspace
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._control = workspace.prediction
        self._models = workspace.models
        # WIDGETS
        self.what = QComboBox()
        for key, (name, tip) in _EXTENTS.items():
            self.what.addItem(name, key)
            self.what.setToolTip(f"{self.what.toolTip()}\n{name}: {tip}".strip())
        self.what.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        guard_wheel(self.what)
        self.predict = QPushButton("Predict")
        self.predict.setToolTip("Find the cells with the chosen model.")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop at the next tile; what is done stays.")
        self.image = Elided()
        self.progress = ProgressBar()
        self.progress.setRange(0, _TICKS)
        self.progress.setToolTip("How much of what was asked for is predicted.")
        self.status = Elided()
        self.hint = Hint()
        self.outcome = OutcomePanel(self._control.exporting)
        self.form = SettingsForm(Prediction, ("averaging", "tile"))
        self.entropy = QCheckBox("Uncertainty layer")
        self.entropy.setToolTip(
            "Also show where the network is unsure (entropy): worth annotating there."
        )
        # LAYOUT
        self.options = Fold("Options", self.entropy)
        self.options.addWidget(self.form)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.image)
        layout.addWidget(self.what)
        layout.addLayout(row(self.predict, self.cancel, stretch=0))
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        layout.addWidget(self.hint)
        layout.addWidget(self.outcome)
        layout.addWidget(self.options)
        # CONNECTIONS
        self.predict.clicked.connect(self._on_predict)
        self.cancel.clicked.connect(self._on_cancel)
        self.what.currentIndexChanged.connect(self.refresh)
        follow(self, self._control.progressed, self._on_progress)

    def refresh(self, *_: object) -> None:
        """Show what goes on and what can be done."""
        control, exporting = self._control, self._control.exporting
        busy = control.running or exporting.running
        # what is in view does not matter to them
        others = self.what.currentData() in ("folder", "images")
        against = "" if others else control.targets.objection()
        self.image.tell(control.targets.name() or "No image is open.")
        allow(self.predict, not busy and not against, against or "It runs already.")
        allow(self.cancel, busy, "Nothing runs.")
        if exporting.running and not control.running:
            self.progress.setValue(int(_TICKS * exporting.progress))
        self.progress.setVisible(busy)
        self.status.tell(control.status)
        self.status.setVisible(bool(control.status))
        self.outcome.refresh()
        remark = "" if others else control.targets.remark()
        if self._models.card is None:
            # the chooser says it
            against = ""
        self.hint.tell(against or remark, "warning" if remark else "info")

    def _on_predict(self) -> None:
        settings = self.form.value()
        what = self.what.currentData()
        if what == "folder":
            self._predict_folder(settings)
            return
        self.progress.setValue(0)
        self._control.predict(
            what,
            entropy=self.entropy.isChecked(),
            averaging=settings.averaging,
            tile=settings.tile,
        )

    def _predict_folder(self, settings: Prediction) -> None:
        source = QFileDialog.getExistingDirectory(self, "Folder with the images")
        if not source:
            return
        target = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if target:
            self._control.predict_folder(
                Path(source), Path(target), settings.averaging, settings.tile
            )

    def _on_cancel(self) -> None:
        self._control.cancel()

    def _on_progress(self, share: float) -> None:
        self.progress.setValue(int(_TICKS * share))
