"""Offers to restore work on this image that was found on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFrame, QVBoxLayout, QWidget

from napari_unet.core.text import counted
from napari_unet.gui.annotate.project_menu import may_leave
from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.widgets import SPACING, ButtonRow, Hint, allow, buttons, follow
from napari_unet.session.project.recovery import is_locked

if TYPE_CHECKING:
    from napari_unet.session.project.recovery import FoundProject
    from napari_unet.session.workspace import Workspace

LOCKED = "It is open in another napari window: close it there, then restore it here."
# Between two checks while the work is open in another window.
_INTERVAL_MS = 1000


class OfferBanner(QFrame):
    """Shown when the current image has no annotation here but has one elsewhere."""

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._images, self._annotating = workspace.images, workspace.annotating
        self._earlier = workspace.annotating.earlier_work
        self._image_id: str | None = None
        self.setFrameShape(QFrame.Shape.StyledPanel)
        # WIDGETS
        self.sentence = Hint()
        self.restore, self.new = buttons(
            ("Restore", "Go on with what was annotated before."),
            ("Start new", "Leave it where it is and begin with an empty annotation."),
        )
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setSpacing(SPACING)
        layout.addWidget(self.sentence)
        layout.addWidget(ButtonRow(self.restore, self.new))
        # CONNECTIONS
        self.restore.clicked.connect(self._on_restore)
        self.new.clicked.connect(self._on_new)
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self._look_again)
        follow(self, self._images.changed, self.refresh)
        follow(self, self._images.current_changed, self.refresh)
        follow(self, self._annotating.edited, self._on_edited)
        follow(self, self._earlier.found, self.refresh)
        self.refresh()

    def refresh(self, _: object = None) -> None:
        """Look for an offer for the current image; on disk only once."""
        image = self._images.current
        self._image_id = image.id if image is not None else None
        offer = self._offer()
        self.setVisible(offer is not None)
        if offer is not None:
            self.sentence.setText(describe(offer))
            allow(self.restore, not offer.locked, LOCKED)
        if offer is not None and offer.locked:
            self._timer.start()
        else:
            self._timer.stop()

    def _offer(self) -> FoundProject | None:
        """Return the latest work on the current image, if it is not annotated here."""
        id_ = self._image_id
        if id_ is None or not self._images.layers(id_) or self._images.places(id_):
            return None
        return next(iter(self._earlier.of(id_) or ()), None)

    def _look_again(self) -> None:
        """Offer what is found now, once the other window is closed."""
        offer = self._offer()
        if offer is None or not is_locked(offer.folder):
            self._earlier.forget()
            self.refresh()

    def _on_restore(self) -> None:
        """Open the project found; if there is other work here, copy from it."""
        offer, id_ = self._offer(), self._image_id
        if offer is None or id_ is None:
            return
        images = self._workspace.store.project.images
        with report_errors(self._workspace):
            if len(images) > 1 or any(self._images.places(i.id) for i in images):
                self._annotating.importer.other_project(id_, offer)
                self.refresh()
            elif may_leave(self._workspace, self):
                self._workspace.open_project(offer.folder)

    def _on_new(self) -> None:
        if self._image_id is not None:
            self._earlier.decline(self._image_id)
            with report_errors(self._workspace):
                self._annotating.layers.show(self._image_id)
        self.refresh()

    def _on_edited(self, image_id: str, _: object) -> None:
        if image_id == self._image_id and self.isVisible():
            self.refresh()


def describe(offer: FoundProject) -> str:
    """Say when the work was done and how much it is."""
    day = offer.modified
    cells, slices = counted(offer.cells, "cell"), counted(offer.slices, "slice")
    date = f"{day.day} {day.strftime('%b %Y')}"
    return f"Annotation of {date} found: {cells} in {slices}."
