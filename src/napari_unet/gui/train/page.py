"""The page of the Train dock: settings, training data, progress and result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.core.text import capitalised
from napari_unet.gui.compute_box import TRAIN_TIP, ComputeBox
from napari_unet.gui.plot import LossPlot
from napari_unet.gui.train.runs_panel import RunsPanel
from napari_unet.gui.train.settings_box import BUSY, TrainingSettingsBox
from napari_unet.gui.widgets import (
    ButtonRow,
    Fold,
    Heading,
    Hint,
    allow,
    blocked,
    buttons,
    check_box,
    column,
    follow,
)

if TYPE_CHECKING:
    from napari_unet.core.events import ModelComparison, ModelSaved
    from napari_unet.session.training.run_record import RunRecord
    from napari_unet.session.workspace import Workspace

_PREVIEW = (
    "Predict the slice in view every few seconds while the network learns, and once "
    "more at the end. Deleting the preview layer switches it off, too."
)

_ANEW = "Start over"


class TrainPage(QWidget):
    """Shows the settings, the data, the progress and the runs of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._training = workspace.training
        self._saved: ModelSaved | None = None
        # WIDGETS
        self.recipe = TrainingSettingsBox(workspace)
        self.compute = ComputeBox(workspace.place, TRAIN_TIP)
        self.interrupted = Hint()
        self.go_on, self.anew = buttons(
            ("Go on with it", "Go on with the interrupted training, on its images."),
            (
                _ANEW,
                "Begin from the start: the interrupted training is forgotten, with its "
                "checkpoint.",
            ),
        )
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
        self.preview = check_box("Live preview of the slice in view", _PREVIEW)
        self.result = Heading("Result")
        self.comparison = Hint()
        self.model = Hint()
        self._curve = (Heading("Progress"), self.plot, self.validation)
        self.runs = RunsPanel(workspace)
        # LAYOUT
        column(
            self,
            self.interrupted,
            self._anew_row,
            *self._curve,
            self.result,
            self.comparison,
            self.model,
            Heading("Recipe"),
            self.recipe,
            self.compute,
            Heading("Trained on"),
            self.summary,
            self.problem,
            self.preview,
            Fold("Runs", self.runs),
        )
        # CONNECTIONS
        self.go_on.clicked.connect(self._training.go_on)
        self.anew.clicked.connect(self._training.forget_interrupted)
        self.preview.toggled.connect(self._training.preview.set_enabled)
        follow(self, self._training.changed, self._show_state)
        follow(self, self._training.curve_changed, self._show_curve)
        follow(self, self._training.preview.changed, self._show_preview)
        follow(self, self._training.finished, self._on_finished)
        self._show_state()
        self._show_curve()
        self._show_preview()

    def _show_state(self) -> None:
        training, plan = self._training, self._training.plan
        self.recipe.show_lock()
        self.compute.allow(training.state == "idle", BUSY)
        self._show_interrupted(plan.interrupted)
        summary = training.training_data.summary()
        learnt = f"{summary}." if summary.images else ""
        self.summary.setText("\n".join(filter(None, (learnt, summary.omission))))
        possible, reason = training.can_start
        nothing_yet = not summary.images and not plan.interrupted
        self.problem.setText(
            "" if possible or training.state != "idle" else reason,
            "info" if nothing_yet else "warning",
        )
        held_out = training.progress.validation
        self.validation.setText(f"{capitalised(held_out)}." if held_out else "")
        self._show_progress()
        self._show_comparison(training.progress.comparison)

    def _show_interrupted(self, record: RunRecord | None) -> None:
        self._anew_row.setVisible(record is not None)
        if record is None:
            self.interrupted.setText("")
            return
        plan = self._training.plan
        goes_on = plan.goes_on
        sentence = (
            f"The training of “{record.name}” was interrupted: press Train to go on "
            "with it."
            if goes_on
            else f"The training of “{record.name}”, on other images, was interrupted. "
            "Train begins a new one, on those that are ticked."
        )
        self.interrupted.setText(sentence, "warning")
        self.go_on.setVisible(not goes_on)
        problem = plan.problem(record)
        allow(self.go_on, not problem, problem)

    def _show_comparison(self, comparison: ModelComparison | None) -> None:
        saved = self._saved if self._training.state == "idle" else None
        self.result.setVisible(comparison is not None or saved is not None)
        worse = comparison is not None and comparison.outcome == "worse"
        wrong = (saved.problem if saved else None) or ""
        share = saved.card.share_in_words if saved else ""
        sentences = (wrong, comparison.sentence if comparison else "", share)
        self.comparison.setText(
            "\n".join(filter(None, sentences)), "warning" if worse or wrong else "info"
        )
        self.model.setText(
            f"Saved as “{Path(saved.path).stem}”, chosen in the Predict dock."
            if saved
            else ""
        )

    def _show_curve(self) -> None:
        curve = self._training.progress.curve
        self.plot.set_data(curve.points, curve.scores)
        self._show_progress()

    def _show_progress(self) -> None:
        """Make room for the curve, on top, once there is something to see."""
        heading, plot, _ = self._curve
        busy = self._training.state != "idle"
        for part in (heading, plot):
            part.setVisible(busy or bool(self._training.progress.curve.points))

    def _show_preview(self) -> None:
        with blocked(self.preview):
            self.preview.setChecked(self._training.preview.enabled)

    def _on_finished(self, saved: ModelSaved) -> None:
        self._saved = saved
        self._show_state()
