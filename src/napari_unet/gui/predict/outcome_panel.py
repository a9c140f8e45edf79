"""What became of the images of a folder, until it is read and closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from napari_unet.gui.widgets import SPACING, ButtonRow, Hint, set_tooltip

if TYPE_CHECKING:
    from napari_unet.session.prediction.exporting import Exporting

_LINES = 6


class OutcomePanel(QWidget):
    """Counts the images, and lists those that were not done with the reason of each.

    Parameters
    ----------
    exporting : Exporting
    """

    def __init__(self, exporting: Exporting, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._exporting = exporting
        # WIDGETS
        self.sentence = Hint()
        self.failures = QPlainTextEdit()
        self.failures.setReadOnly(True)
        self.failures.setToolTip("Images that were not done, and why.")
        self.close_ = QPushButton("Close list")
        set_tooltip(self.close_, "Put away what became of the images of the folder.")
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.sentence)
        layout.addWidget(self.failures)
        layout.addWidget(ButtonRow(self.close_))
        # CONNECTIONS
        self.close_.clicked.connect(self._on_close)
        self.refresh()

    def refresh(self) -> None:
        """Show what is known by now."""
        outcome = self._exporting.outcome
        self.setVisible(outcome is not None)
        if outcome is None:
            return
        fine = outcome.good or (outcome.running and not outcome.failures)
        self.sentence.tell(outcome.sentence, "info" if fine else "warning")
        lines = [*outcome.failures]
        if outcome.notes:
            lines += ["Chosen in reading:", *outcome.notes]
        text = "\n".join(lines)
        if text != self.failures.toPlainText():
            self.failures.setPlainText(text)
        self.failures.setVisible(bool(text))
        line = self.failures.fontMetrics().lineSpacing()
        self.failures.setFixedHeight(line * min(_LINES, 2 * len(lines) + 1) + 8)
        self.close_.setVisible(not outcome.running)

    def _on_close(self) -> None:
        self._exporting.dismiss_outcome()
