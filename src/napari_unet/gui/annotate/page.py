"""The page of the Annotate dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.gui.annotate.brush_bar import BrushBar
from napari_unet.gui.annotate.check_panel import CheckPanel
from napari_unet.gui.annotate.class_panel import ClassPanel
from napari_unet.gui.annotate.image_panel import ImagePanel
from napari_unet.gui.annotate.import_menu import ImportButton
from napari_unet.gui.annotate.next_panel import NextPanel
from napari_unet.gui.annotate.offer_banner import OfferBanner
from napari_unet.gui.annotate.overlay_panel import OverlayPanel
from napari_unet.gui.annotate.project_menu import ProjectButton, UndoButton
from napari_unet.gui.annotate.shortcut_panel import ShortcutPanel
from napari_unet.gui.annotate.slice_panel import SlicePanel
from napari_unet.gui.widgets import ButtonRow, Fold, Heading, Hint, column, follow

if TYPE_CHECKING:
    from napari_unet.session.workspace import Workspace

NO_IMAGE = (
    "Open an image first: drop one on napari, or choose File > Open Sample > U-Net. "
    "Or go on with an earlier project: press Project."
)
NOT_ADDED = "Press Add image… to annotate the image that is open."
OF_NO_IMAGE = "{} is not in the project: press Add image… to annotate it."
SEVERAL = (
    "Press Add image… and tick what is to be annotated: images, or the layers that are "
    "the channels of one."
)


class AnnotatePage(QWidget):
    """Images, classes, brush, slices, where next, data check, weights and keys."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        # WIDGETS
        self.empty = Hint(NO_IMAGE)
        self.images = ImagePanel(workspace)
        self.offer = OfferBanner(workspace, self)
        self.classes = ClassPanel(workspace)
        self.brush = BrushBar(workspace)
        self.slices = SlicePanel(workspace)
        self.next = NextPanel(workspace)
        self.check = CheckPanel(workspace)
        self.overlay = OverlayPanel(workspace)
        self.import_ = ImportButton(workspace)
        self.project = ProjectButton(workspace)
        self.undo = UndoButton(workspace)
        self.next_fold = Fold("Annotate here next", self.next)
        self.check_fold = Fold("Data check", self.check)
        self.overlay_fold = Fold("Border weights", self.overlay)
        self.shortcut_fold = Fold("Shortcuts", ShortcutPanel())
        # the dock keeps it in sight, however long the page becomes
        self.pinned = QWidget()
        column(self.pinned, Heading("Brush"), self.brush, inner=True)
        # LAYOUT
        self._work = (
            Heading("Classes"),
            self.classes,
            self.pinned,
            Heading("Slices"),
            self.slices,
            self.next_fold,
            self.check_fold,
            self.overlay_fold,
            self.shortcut_fold,
        )
        # what is hidden at first comes last, or it would leave a gap
        buttons = ButtonRow(self.project, self.undo, self.import_)
        column(
            self,
            Heading("Images"),
            self.empty,
            self.images,
            self.offer,
            *self._work,
            buttons,
        )
        self.setMinimumWidth(0)
        # CONNECTIONS
        self.next_fold.toggled.connect(self.next.start)
        self.check_fold.toggled.connect(self.check.start)
        follow(self, workspace.images.changed, self.refresh)
        follow(self, workspace.images.current_changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show what there is to work on, or say what to do first."""
        images, candidates = self._workspace.images, self._workspace.images.candidates()
        known = bool(self._workspace.store.project.images)
        for part in self._work:
            part.setVisible(known)
        self.import_.setVisible(known)
        sentence = (NO_IMAGE, NOT_ADDED, SEVERAL)[min(len(candidates), 2)]
        if known:
            # whoever chose a layer that is no image of the project looks at that
            chosen = [layer.name for layer in candidates if images.is_active(layer)]
            sentence = OF_NO_IMAGE.format(*chosen) if chosen else ""
        self.empty.setText(sentence)
