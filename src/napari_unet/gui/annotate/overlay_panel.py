"""Border weights over the slice in view: two sliders that take effect at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.core.settings import BorderWeights
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.widgets import Hint, blocked, column, follow

if TYPE_CHECKING:
    from napari_unet.session.workspace import Workspace

_SLIDERS = {"w0": (0.0, 50.0), "sigma": (0.5, 20.0)}


class OverlayPanel(QWidget):
    """Controls of the weight overlay."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._overlay = workspace.overlay
        self._store = workspace.store
        # WIDGETS
        self.form = SettingsForm(BorderWeights, ("w0", "sigma"), sliders=_SLIDERS)
        self.hint = Hint(
            "Show > Border weights, at the foot, lights up how much gaps between "
            "cells weigh: narrow ones more, so that touching cells come apart; "
            "they are lit once they are painted as background. "
            "These sliders change what is shown; training has its own settings in "
            "Train > Advanced."
        )
        # LAYOUT
        column(self, self.form, self.hint, inner=True)
        # CONNECTIONS
        self.form.valueChanged.connect(self._overlay.set_settings)
        follow(self, self._store.undone, self._show)
        self._show()

    def _show(self, _: object = None) -> None:
        # values from the overlay must not be sent back to it
        with blocked(self.form):
            self.form.setValue(self._overlay.settings)
