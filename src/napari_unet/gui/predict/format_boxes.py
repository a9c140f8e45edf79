"""Check boxes for the formats of other programs."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from napari_unet.gui.widgets import Heading, allow, check_box, column
from napari_unet.io.objects.catalogue import FORMATS

TABLE_TIP = "Size, position, shape and grey values of each cell, as .csv."
POINTS_TIP = (
    "A point for each cell with class and confidence, as .csv, which napari opens as a "
    "layer."
)


class FormatBoxes(QWidget):
    """A box for each format that cells can be written in.

    Those whose package is missing cannot be ticked, and say what brings it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.boxes = {
            name: check_box(one.title, one.tip) for name, one in FORMATS.items()
        }
        heading = Heading("Cells for other programs")
        column(self, heading, *self.boxes.values(), inner=True)
        for name, box in self.boxes.items():
            try:
                FORMATS[name].check_installed()
            except ModuleNotFoundError as error:
                allow(box, False, str(error))

    def ticked(self) -> list[str]:
        """Return the names of the formats that are wanted; none while it is hidden."""
        if self.isHidden():
            return []
        return [name for name, box in self.boxes.items() if box.isChecked()]
