"""Where networks compute: on this computer, or on one that ssh reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QLineEdit, QWidget

from napari_unet.core.text import capitalised
from napari_unet.gui.widgets import (
    Hint,
    allow,
    blocked,
    column,
    combo_box,
    follow,
    label_of,
    row,
)
from napari_unet.session.compute_place import known_hosts

if TYPE_CHECKING:
    from napari_unet.session.compute_place import ComputePlace

_HERE = "This computer"
_TIP = (
    ": here, or on a computer that ssh reaches without asking for a password, as "
    "me@host. napari-unet of the same version has to be installed there; "
    "me@host:/path/to/napari-unet says where, if it is not found."
)
TRAIN_TIP = f"Where the network is trained{_TIP}"
PREDICT_TIP = (
    f"Where images and folders are predicted{_TIP} The pixels go there, and each slice "
    "or volume comes back as a whole, not in tiles; a view is predicted with its whole "
    "slice. What corrections renew is predicted here."
)
_QUEUE_TIP = (
    "Batch queue of that computer: empty to begin at once, or slurm with options of "
    "sbatch, such as slurm --gres=gpu:1 --time=60."
)


class ComputeBox(QWidget):
    """Chooses the computer; what is typed counts with Enter, or on leaving.

    `tip` says for people what it is chosen for.
    """

    def __init__(self, place: ComputePlace, tip: str) -> None:
        super().__init__()
        self._place = place
        # WIDGETS
        self.where = combo_box(tip)
        self.where.setEditable(True)
        self.where.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.where.addItems([_HERE, *known_hosts()])
        self.where.setAccessibleName("Compute on")
        self.queue = QLineEdit()
        self.queue.setPlaceholderText("none, or slurm …")
        self.queue.setToolTip(_QUEUE_TIP)
        self.queue.setAccessibleName("Queue")
        self.problem = Hint(level="warning")
        # LAYOUT
        self._queue_row = QWidget()
        self._queue_row.setLayout(
            row(label_of(self.queue, "Queue"), self.queue, stretch=1)
        )
        column(
            self,
            row(label_of(self.where, "Compute on"), self.where, stretch=1),
            self._queue_row,
            self.problem,
            inner=True,
        )
        # CONNECTIONS
        self.where.textActivated.connect(self._on_chosen)
        edit = self.where.lineEdit()
        if edit is not None:
            edit.editingFinished.connect(self._on_chosen)
        self.queue.editingFinished.connect(self._on_chosen)
        follow(self, place.changed, self._show)
        self._show()

    def allow(self, allowed: bool, reason: str) -> None:
        """Let it be changed, or not for a reason."""
        for part in (self.where, self.queue):
            allow(part, allowed, reason)

    def _on_chosen(self, *_: object) -> None:
        text = self.where.currentText().strip()
        where = "" if text == _HERE else text
        try:
            self._place.choose(where, self.queue.text() if where else "")
        except ValueError as error:
            self.problem.setText(capitalised(str(error)), "warning")
            return
        self._show()

    def _show(self) -> None:
        with blocked(self.where, self.queue):
            self.where.setCurrentText(self._place.where or _HERE)
            self.queue.setText(self._place.queue)
        self._queue_row.setVisible(bool(self._place.where))
        self.problem.setText("")
