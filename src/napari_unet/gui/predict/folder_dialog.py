"""Which folder of images is predicted, into which, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QLineEdit, QWidget

from napari_unet.core.cluster import WORDS, parse_cluster
from napari_unet.gui.dialogs import dialog_buttons
from napari_unet.gui.number_box import IntBox
from napari_unet.gui.predict.format_boxes import POINTS_TIP, TABLE_TIP, FormatBoxes
from napari_unet.gui.widgets import Heading, Hint, check_box, column, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.model import ModelCard

# What is written of each image, as `napari-unet predict --save` names it.
_KINDS = {
    "probabilities": ("Probabilities", "What the network says of each pixel."),
    "classes": ("Classes", "A label image with one number for each class."),
    "instances": ("Cells", "A label image with one number for each cell."),
    "table": (
        "Tables of measurements, and a summary",
        f"{TABLE_TIP} And summary.csv, with a row for each image.",
    ),
    "points": ("Points", POINTS_TIP),
}
_OF_CELLS = ("instances", "table", "points")
_UNUSUAL = ("table", "points")
_RESULTS = "results"


class FolderDialog(QDialog):
    """Asks for two folders, and for what is written into one of them.

    `source` is offered, and a folder in it for the results. `begin` is called with both
    folders, the kinds of result, the channel that the network sees (from 1; None for
    all) and the cluster (empty for none). `where` is the computer that ssh reaches, if
    one was chosen; then there can be no cluster.
    """

    def __init__(
        self,
        begin: Callable[[Path, Path, tuple[str, ...], int | None, str], None],
        source: Path,
        card: ModelCard | None,
        parent: QWidget | None = None,
        *,
        where: str = "",
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Predict a folder of images")
        self._begin, self._offered = begin, source / _RESULTS
        # WIDGETS
        self.source = FileEdit(
            mode="d", value=source, tooltip="Folder whose images are predicted."
        )
        self.target = FileEdit(
            mode="d",
            value=self._offered,
            tooltip="Folder for the results, with a folder in it for each kind.",
        )
        self.channel = IntBox(0, 99)
        self.channel.setSpecialValueText("the only one")
        self.channel.setToolTip(
            "Of images with several channels the one that the model sees; all are "
            "measured."
        )
        self.kinds = {
            kind: check_box(title, tip, checked=kind not in _UNUSUAL)
            for kind, (title, tip) in _KINDS.items()
        }
        self.objects = FormatBoxes()
        self.cluster = QLineEdit()
        self.cluster.setPlaceholderText("this computer")
        self.cluster.setAccessibleName("Compute on")
        self.cluster.setToolTip(
            "Workers of a Dask cluster that compute instead, with the same result and "
            f"on the same disk: {', '.join(WORDS)}. Empty for this computer."
        )
        self.problem = Hint(level="error")
        self.buttons = dialog_buttons(self, "Ok", "Cancel")
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Predict")
        # LAYOUT
        self._channels = QWidget()
        self._channels.setLayout(row(QLabel("Channel"), self.channel, stretch=1))
        column(
            self,
            Heading("Images in"),
            self.source.native,
            self._channels,
            Heading("Results into"),
            self.target.native,
            Heading("Write"),
            *self.kinds.values(),
            self.objects,
            row(QLabel("Compute on"), self.cluster, stretch=1),
            self.problem,
            self.buttons,
        )
        self.setMinimumWidth(360)
        if where:
            self.cluster.setPlaceholderText(where)
            self.cluster.setEnabled(False)
            self.cluster.setToolTip("As chosen in the dock, under Compute on.")
        if card is not None:
            for part in (*(self.kinds[kind] for kind in _OF_CELLS), self.objects):
                part.setVisible(bool(card.cell_classes))
            self._channels.setVisible(card.architecture.channels == 1)
        # CONNECTIONS
        self.source.changed.connect(self._offer)

    def _offer(self, source: Path) -> None:
        """Follow another folder of images, unless that of the results was chosen."""
        if Path(self.target.value) == self._offered:
            self._offered = Path(source) / _RESULTS
            self.target.value = self._offered

    def accept(self) -> None:
        """Begin, unless a folder is missing or nothing is to be written."""
        source, target = (
            Path(edit.value).expanduser() for edit in (self.source, self.target)
        )
        kinds = [
            kind
            for kind, box in self.kinds.items()
            if box.isChecked() and not box.isHidden()
        ]
        wanted = (*kinds, *self.objects.ticked())
        if not source.is_dir():
            self.problem.setText(f"There is no folder {source}.", "error")
        elif not self.target.line_edit.value.strip():
            self.problem.setText("Choose a folder for the results.", "error")
        elif not wanted:
            self.problem.setText("Choose what is to be written.", "error")
        elif problem := self._wrong_cluster():
            self.problem.setText(problem, "error")
        else:
            # also what is still being typed, where buttons take no focus
            self.channel.interpretText()
            channel = self.channel.value() or None
            self._begin(source, target, wanted, channel, self.cluster.text().strip())
            super().accept()

    def _wrong_cluster(self) -> str:
        """Say why no cluster has the name that was written; empty if one has."""
        try:
            if text := self.cluster.text().strip():
                parse_cluster(text)
        except ValueError as error:
            return str(error)
        return ""
