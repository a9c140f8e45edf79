"""Borders and pieces of regions: settings that take effect at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unet.core.settings import Segmentation
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.widgets import blocked, check_box, column, follow, plain

if TYPE_CHECKING:
    from qtpy.QtWidgets import QCheckBox

    from napari_unet.session.workspace import Workspace


_SLIDERS = {"edge_smoothing": (0.0, 20.0), "smallest_piece": (0.0, 5000.0)}
_NO_EDGES = "Gaps between cells would close: for models of regions alone."
_LARGEST = "In each slice or volume; all other pieces become what surrounds them."


class RegionPanel(QWidget):
    """Edits how borders of regions are smoothed, and which pieces are kept."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._control, self._models = workspace.prediction, workspace.models
        self._names: list[tuple[int, str]] = []
        # WIDGETS
        self.form = SettingsForm(Segmentation, tuple(_SLIDERS), sliders=_SLIDERS)
        # by the number of the class
        self.largest: dict[int, QCheckBox] = {}
        # LAYOUT
        self._boxes = QVBoxLayout()
        self._boxes.setSpacing(0)
        column(self, self.form, self._boxes, inner=True)
        # CONNECTIONS
        self.form.valueChanged.connect(self._control.set_segmentation)
        follow(self, self._control.segmentation_changed, self._show)
        follow(self, self._models.selected_changed, self._show)
        self._show()

    def _show(self, *_: object) -> None:
        card = self._models.card
        classes = () if card is None else card.classes
        names = [(k, c.name) for k, c in enumerate(classes, 1) if c.kind == "regions"]
        if names != self._names:
            self._names = names
            self._make_boxes()
        self.form.allow("edge_smoothing", len(names) == len(classes), _NO_EDGES)
        settings = self._control.segmentation
        with blocked(self.form, *self.largest.values()):
            self.form.setValue(settings)
            for number, box in self.largest.items():
                box.setChecked(number in settings.largest_only)

    def _make_boxes(self) -> None:
        for box in self.largest.values():
            box.deleteLater()
        self.largest = {}
        for number, name in self._names:
            box = check_box(f"Only the largest piece of {plain(name)}", _LARGEST)
            box.toggled.connect(self._on_largest)
            self._boxes.addWidget(box)
            self.largest[number] = box

    def _on_largest(self) -> None:
        chosen = tuple(n for n, box in self.largest.items() if box.isChecked())
        settings = self._control.segmentation.replace(largest_only=chosen)
        self._control.set_segmentation(settings)
