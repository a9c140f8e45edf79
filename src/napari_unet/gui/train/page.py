"""The Train dock: recipe, what is trained on, how it goes, and how good it became."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QPushButton, QWidget

from napari_unet.gui.plot import LossPlot
from napari_unet.gui.train.settings_box import RecipeBox
from napari_unet.gui.widgets import (
    ButtonRow,
    Heading,
    Hint,
    allow,
    blocked,
    column,
    follow,
)

if TYPE_CHECKING:
    from napari_unet.core.events import ModelComparison, ModelSaved
    from napari_unet.session.workspace import Workspace

_PREVIEW = (
    "Predict the slice in view every few seconds while the network learns, and once "
    "more at the end. Deleting the preview layer switches it off, too."
)

_ANEW = "Start anew instead"


class TrainPage(QWidget):
    """What is trained, and how it goes.

    Parameters
    ----------
    workspace : Workspace
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._training = workspace.training
        self._saved: ModelSaved | None = None
        # WIDGETS
        self.recipe = RecipeBox(workspace)
        self.interrupted = Hint()
        self.go_on = QPushButton("Go on with it")
        self.go_on.setToolTip("Go on with the interrupted training, on its images.")
        self.anew = QPushButton(_ANEW)
        self.anew.setToolTip("Forget the interrupted training and its checkpoint.")
        self._anew_row = ButtonRow(self.go_on, self.anew)
        self.summary = Hint()
        self.summary.setToolTip("Ticked images of the Annotate dock with annotation.")
        self.problem = Hint(level="warning")
        self.problem.setToolTip("What is missing before a network can be trained.")
        self.plot = LossPlot()
        self.validation = Hint()
        self.validation.setToolTip(
            "Annotation that is not learnt from, but used to judge the network."
        )
        self.preview = QCheckBox("Live preview of the slice in view")
        self.preview.setToolTip(_PREVIEW)
        self.result = Heading("Result")
        self.comparison = Hint()
        self.model = Hint()
        # LAYOUT
        column(
            self,
            self.interrupted,
            self._anew_row,
            Heading("Recipe"),
            self.recipe,
            Heading("Trained on"),
            self.summary,
            self.problem,
            self.result,
            self.comparison,
            self.model,
            Heading("Progress"),
            self.plot,
            self.validation,
            self.preview,
        )
        # CONNECTIONS
        self.go_on.clicked.connect(self._on_go_on)
        self.anew.clicked.connect(self._on_anew)
        self.preview.toggled.connect(self._on_preview)
        follow(self, self._training.changed, self._show_state)
        follow(self, self._training.curve_changed, self._show_curve)
        follow(self, self._training.preview_changed, self._show_preview)
        follow(self, self._training.finished, self._on_finished)
        self._show_state()
        self._show_curve()
        self._show_preview()

    def _show_state(self) -> None:
        training = self._training
        busy = training.state != "idle"
        self.recipe.show_lock()
        self._show_interrupted()
        summary = training.training_data.summary()
        learnt = f"{summary}." if summary.images else ""
        self.summary.tell("\n".join(filter(None, (learnt, summary.omission))))
        possible, reason = training.can_start
        if busy or possible:
            self.problem.tell("")
        elif not summary.images and not training.interrupted:
            self.problem.tell(reason, "info")
        else:
            self.problem.tell(reason, "warning")
        held_out = training.validation
        self.validation.tell(
            f"{held_out[:1].upper()}{held_out[1:]}." if held_out else ""
        )
        self._show_comparison(training.comparison)

    def _show_interrupted(self) -> None:
        record = self._training.interrupted
        self._anew_row.setVisible(record is not None)
        if record is None:
            self.interrupted.tell("")
            return
        goes_on = self._training.goes_on
        told = (
            f"The training of “{record.name}” was interrupted: press Train to go on "
            "with it."
            if goes_on
            else f"The training of “{record.name}”, on other images, was interrupted. "
            "Train begins a new one, on those that are ticked."
        )
        self.interrupted.tell(told, "warning")
        self.go_on.setVisible(not goes_on)
        problem = self._training.problem_to_resume(record)
        allow(self.go_on, not problem, problem)
        self.anew.setText(_ANEW if goes_on else "Forget it")

    def _show_comparison(self, comparison: ModelComparison | None) -> None:
        saved = self._saved if self._training.state == "idle" else None
        self.result.setVisible(comparison is not None or saved is not None)
        worse = comparison is not None and comparison.outcome == "worse"
        wrong = (saved.problem if saved is not None else None) or ""
        self.comparison.tell(
            "\n".join(filter(None, (wrong, comparison.sentence if comparison else ""))),
            "warning" if worse or wrong else "info",
        )
        self.model.tell(
            f"Saved as “{Path(saved.path).stem}”, chosen in the Predict dock."
            if saved is not None
            else ""
        )

    def _show_curve(self) -> None:
        self.plot.set_curve(self._training.curve)
        self.plot.set_scores(self._training.scores)

    def _show_preview(self) -> None:
        with blocked(self.preview):
            self.preview.setChecked(self._training.preview_enabled)

    def _on_finished(self, saved: ModelSaved) -> None:
        """Use the new model for predictions."""
        self._saved = saved
        self._workspace.models.select(saved.path)
        self._show_state()

    def _on_go_on(self) -> None:
        self._training.go_on()

    def _on_anew(self) -> None:
        self._training.forget_interrupted()

    def _on_preview(self, enabled: bool) -> None:
        self._training.set_preview_enabled(enabled)
