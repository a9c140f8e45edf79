"""The outcome for the images of a folder, shown until it is dismissed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPlainTextEdit, QWidget

from napari_unet.gui.widgets import ButtonRow, Hint, button, column

if TYPE_CHECKING:
    from napari_unet.session.prediction.control import PredictionControl

_LINES = 6


class FolderPanel(QWidget):
    """Counts the images, and lists those that were not done with the reason of each."""

    def __init__(self, control: PredictionControl) -> None:
        super().__init__()
        self._control = control
        self.sentence = Hint()
        self.failures = QPlainTextEdit()
        self.failures.setReadOnly(True)
        self.failures.setToolTip("Images that were not done, and why.")
        self.close_ = button(
            "Close list", "Put away what became of the images of the folder."
        )
        column(self, self.sentence, self.failures, ButtonRow(self.close_), inner=True)
        self.close_.clicked.connect(control.dismiss_folder)
        self.refresh()

    def refresh(self) -> None:
        """Show what is known so far."""
        folder = self._control.folder
        self.setVisible(folder is not None)
        if folder is None:
            return
        fine = folder.good or (folder.running and not folder.failures)
        self.sentence.setText(folder.sentence, "info" if fine else "warning")
        lines = [*folder.failures]
        if folder.notes:
            lines += ["Chosen in reading:", *folder.notes]
        text = "\n".join(lines)
        # the same text set again would scroll back to its top
        if text != self.failures.toPlainText():
            self.failures.setPlainText(text)
        self.failures.setVisible(bool(text))
        line = self.failures.fontMetrics().lineSpacing()
        self.failures.setFixedHeight(line * min(_LINES, 2 * len(lines) + 1) + 8)
        self.close_.setVisible(not folder.running)
