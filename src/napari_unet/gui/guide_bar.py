"""The step that comes next, at the top of each dock, until it is not wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QVBoxLayout

from napari_unet.gui.widgets import MARGIN, Heading, Hint, button, follow, row
from napari_unet.session.guide import STEPS

if TYPE_CHECKING:
    from napari_unet.session.guide import Guide


class GuideBar(QFrame):
    """Shows the next step of the guide; `here` is the title of its dock."""

    asked = Signal(str)
    """The dock of this title is to be shown."""

    def __init__(self, guide: Guide, here: str) -> None:
        super().__init__()
        self._guide, self._here = guide, here
        # WIDGETS
        self.title = Heading("")
        self.how = Hint()
        self.go = button("", "")
        self.skip = button(
            "Skip", "Hide the guide for good; ? below the docks brings it back."
        )
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, 4, MARGIN, 0)
        layout.setSpacing(2)
        layout.addLayout(row(self.title, self.go, self.skip, stretch=0))
        layout.addWidget(self.how)
        # napari's style draws no frame, and pages scroll up to here
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        layout.addWidget(line)
        # CONNECTIONS
        self.go.clicked.connect(self._on_go)
        self.skip.clicked.connect(guide.skip)
        follow(self, guide.changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the step that comes next, if the guide is wanted."""
        step = self._guide.step
        self.setVisible(self._guide.shown)
        if step is None:
            self.title.setText("The guide is done")
            self.how.setText("Correct more, train again, predict other images.")
            self.skip.setText("Close")
        else:
            self.title.setText(f"{self._guide.number + 1}/{len(STEPS)}  {step.title}")
            self.how.setText(step.how)
            self.skip.setText("Skip")
        elsewhere = step is not None and step.dock != self._here
        self.go.setVisible(elsewhere)
        if step is not None and elsewhere:
            # a button called "Train" would be mistaken for the one to press
            self.go.setText(f"Go to {step.dock}")
            self.go.setToolTip(f"Show the {step.dock} dock.")

    def _on_go(self) -> None:
        step = self._guide.step
        if step is not None:
            self.asked.emit(step.dock)
