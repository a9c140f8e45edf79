"""Whether corrections are learnt at once, and what has been learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.gui.preferences import keep
from napari_unet.gui.widgets import Hint, blocked, check_box, column, follow

if TYPE_CHECKING:
    from napari_unet.session.workspace import Workspace

_TIP = (
    "What you paint over predicted cells is shown as painted. A copy of the model also "
    "takes a few training steps on it, so that it is better at cells of the same kind; "
    "where nothing is painted it is held as it was. Undo takes all of it back. While a "
    "network trains, the training learns corrections instead."
)


class LearningPanel(QWidget):
    """A switch; the line `status` stands beside the tools, which the dock pins."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        # WIDGETS
        self.box = check_box("Learn corrections at once", _TIP)
        self.status = Hint()
        # LAYOUT
        column(self, self.box, inner=True)
        # CONNECTIONS
        self.box.toggled.connect(self._on_toggled)
        follow(self, workspace.learning.changed, self.refresh)
        follow(self, workspace.models.selected_changed, self.refresh)
        follow(self, workspace.training.changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show whether it is on, and what it does or did last."""
        learning = self._workspace.learning
        with blocked(self.box):
            self.box.setChecked(learning.enabled)
        problem = learning.problem if learning.enabled else ""
        self.status.setText(
            problem or learning.status, "warning" if problem else "info"
        )

    def _on_toggled(self, on: bool) -> None:
        workspace = self._workspace
        workspace.set_preferences(workspace.preferences.replace(learn_corrections=on))
        keep("learn_corrections", on)
