"""How probabilities become cells: sliders that act at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.core.settings import Segmentation
from napari_unet.core.text import capitalised
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.widgets import Fold, allow, blocked, button, column, follow

if TYPE_CHECKING:
    from napari_unet.session.workspace import Workspace

_MAIN = ("threshold", "min_size", "min_distance")
_MORE = (
    "cells_by",
    "membrane",
    "neck",
    "unsure_size",
    "ridge",
    "fill_holes",
    "clear_border",
    "link_z",
    "link_iou",
)
_TIME = ("track", "track_distance")
# What sliders cover; the boxes beside them take any allowed value.
_SLIDERS = {
    "min_size": (0, 500),
    "unsure_size": (0, 500),
    "min_distance": (0, 10),
    "ridge": (0, 10),
    "track_distance": (0, 100),
}
_OF_WATERSHED = "With the multicut, touching cells are split by their borders."
_OF_MULTICUT = "Choose the multicut to part cells by."


class SegmentationPanel(QWidget):
    """Edits how cells are found; the slice in view follows each move."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._control, self._models = workspace.prediction, workspace.models
        self._missing = _missing()
        self._images = workspace.images
        # WIDGETS
        self.main = SettingsForm(Segmentation, _MAIN, sliders=_SLIDERS)
        self.more = SettingsForm(Segmentation, _MORE, sliders=_SLIDERS)
        self.time = SettingsForm(Segmentation, _TIME, sliders=_SLIDERS)
        self.reset = button(
            "The model's own settings",
            "Find cells with the settings the model came with.",
        )
        # LAYOUT
        self.fold = Fold("More", self.more)
        self.fold.addWidget(self.reset)
        column(self, self.main, self.time, self.fold, inner=True)
        # CONNECTIONS
        self.main.valueChanged.connect(self._control.set_segmentation)
        self.more.valueChanged.connect(self._control.set_segmentation)
        self.time.valueChanged.connect(self._control.set_segmentation)
        self.reset.clicked.connect(self._on_reset)
        follow(self, self._control.segmentation_changed, self._show)
        follow(self, self._models.selected_changed, self._show)
        follow(self, self._images.changed, self._show)
        follow(self, self._images.current_changed, self._show)
        self._show()

    def _on_reset(self) -> None:
        card = self._models.card
        if card is not None:
            self._control.set_segmentation(card.segmentation)

    def _show(self, *_: object) -> None:
        """Each form holds all settings, so that each edit is complete."""
        settings = self._control.segmentation
        forms = self.main, self.more, self.time
        with blocked(*forms):
            for form in forms:
                if form.value() != settings:
                    form.setValue(settings)
        image = self._images.current
        movie = image is not None and image.sizes["t"] > 1
        # also where it is on: it holds for a folder of images too
        self.time.setVisible(movie or settings.track)
        self.time.allow("track_distance", settings.track, "Cells are not followed.")
        card = self._models.card
        differ = card is not None and card.segmentation != settings
        allow(self.reset, differ, "They are in use.")
        multicut = settings.cells_by == "multicut"
        self.main.allow("min_distance", not multicut, _OF_WATERSHED)
        self.more.allow("neck", not multicut, _OF_WATERSHED)
        self.more.allow("membrane", multicut, _OF_MULTICUT)
        # if it was chosen elsewhere, as by a model, another can still be chosen
        self.more.allow("cells_by", multicut or not self._missing, self._missing)


def _missing() -> str:
    """Say what the multicut needs that is not there; empty if nothing is."""
    try:
        Segmentation(cells_by="multicut").check_installed()
    except ModuleNotFoundError as error:
        return capitalised(str(error))
    return ""
