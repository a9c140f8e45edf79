"""What was chosen for the next training, and why: a line for each setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_unet.core.settings import form_hints
from napari_unet.core.training.training_settings import Training
from napari_unet.gui.widgets import Hint

if TYPE_CHECKING:
    from napari_unet.core.training.decision import Decision


class DecisionList(QWidget):
    """Shows decisions, and below them what is not decided."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Decision, ...] = ()
        # WIDGETS
        self.rows: list[tuple[QLabel, Hint]] = []
        self.note = Hint()
        # LAYOUT
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._layout.addWidget(self.note)

    def show_decisions(self, decisions: tuple[Decision, ...], note: str) -> None:
        """Show a row for each decision, and a sentence on what else there is to say."""
        self.note.setText(note)
        if decisions == self._shown:
            return
        self._shown = decisions
        for label, reason in self.rows:
            label.deleteLater()
            reason.deleteLater()
        self.rows = []
        for decision in decisions:
            label = QLabel(f"{title(decision.field)}: {_value(decision)}")
            others = ", ".join(decision.alternatives)
            label.setToolTip(f"In place of {others}" if others else "")
            reason = Hint(decision.reason)
            self._layout.insertWidget(2 * len(self.rows), label)
            self._layout.insertWidget(2 * len(self.rows) + 1, reason)
            self.rows.append((label, reason))


def title(name: str) -> str:
    """Return what a setting of `Training` is called in its form."""
    return Training.model_fields[name].title or name.replace("_", " ").capitalize()


def _value(decision: Decision) -> str:
    hints = form_hints(Training.model_fields[decision.field])
    shown = f"{decision.value:g}" if isinstance(decision.value, float) else None
    text = shown or str(decision.value)
    return str(hints.get("choices", {}).get(text, text)) + str(hints.get("unit", ""))
