"""How probabilities become cells: sliders that act at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_unet.core.settings import Segmentation
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.widgets import SPACING, Fold, allow, blocked, follow

if TYPE_CHECKING:
    from napari_unet.session.prediction.control import PredictionControl
    from napari_unet.session.prediction.models import ModelList

_MAIN = ("threshold", "min_size", "min_distance")
_MORE = ("neck", "ridge", "fill_holes", "clear_border", "link_z", "link_iou")
# What sliders cover; the boxes beside them take any allowed value.
_SLIDERS = {"min_size": (0, 500), "min_distance": (0, 10), "ridge": (0, 10)}


class SegmentationPanel(QWidget):
    """Edits the segmentation of a control; the slice in view follows each move.

    Parameters
    ----------
    control : PredictionControl
    models : ModelList
        The chosen model's settings can be had back.
    """

    def __init__(
        self,
        control: PredictionControl,
        models: ModelList,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._control, self._models = control, models
        # WIDGETS
        self.main = SettingsForm(Segmentation, _MAIN, sliders=_SLIDERS)
        self.more = SettingsForm(Segmentation, _MORE, sliders=_SLIDERS)
        self.reset = QPushButton("The model's own settings")
        self.reset.setToolTip("Find cells with the settings the model came with.")
        self.fold = Fold("More", self.more)
        self.fold.addWidget(self.reset)
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.main)
        layout.addWidget(self.fold)
        # CONNECTIONS
        self.main.valueChanged.connect(control.set_segmentation)
        self.more.valueChanged.connect(control.set_segmentation)
        self.reset.clicked.connect(self._on_reset)
        follow(self, control.segmentation_changed, self._show)
        follow(self, models.selected_changed, self._show)
        self._show()

    def _on_reset(self) -> None:
        card = self._models.card
        if card is not None:
            self._control.set_segmentation(card.segmentation)

    def _show(self, *_: object) -> None:
        """Both forms hold all settings, so that each edit is complete."""
        settings = self._control.segmentation
        with blocked(self.main, self.more):
            for form in (self.main, self.more):
                if form.value() != settings:
                    form.setValue(settings)
        card = self._models.card
        differ = card is not None and card.segmentation != settings
        allow(self.reset, differ, "They are in use.")
