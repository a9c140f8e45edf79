"""The project's images: which are used, what is open, what is annotated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QListWidgetItem, QWidget

from napari_unet.gui.annotate.add_image_dialog import AddImageDialog, needs_dialog
from napari_unet.gui.annotate.item_list import ItemList
from napari_unet.gui.annotate.locate_image_dialog import ask_where
from napari_unet.gui.annotate.pixel_size_dialog import PixelSizeDialog
from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.widgets import (
    ButtonRow,
    Hint,
    allow,
    blocked,
    button,
    column,
    follow,
)
from napari_unet.session.images.interpretation import in_words
from napari_unet.session.images.navigation import zoom_to
from napari_unet.session.images.reopening import open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.workspace import Workspace

NEW, SHOW, OPEN = "New annotation", "Show annotation", "Open image…"
_ID = Qt.ItemDataRole.UserRole


class ImagePanel(QWidget):
    """Lists the images; the marked one is the current one, a tick means training."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._images = workspace.images
        # WIDGETS
        self.list = ItemList()
        self.list.setToolTip(
            "Images of this project. Ticked ones are used for training. The marked one "
            "is shown; a double click brings all of it into view."
        )
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.interpretation = Hint()
        self.add = button(
            "Add image…",
            "Take image layers of the viewer into the project: the selected ones, as "
            "images or as the channels of one.",
        )
        self.show_annotation = button(
            NEW,
            "Make the layer to paint in, or bring it back with all that was painted.",
        )
        self.reopen = button(
            OPEN, "Open the file of this image, or say where it is now."
        )
        self.pixel_size = button(
            "Pixel size…",
            "Say how large the pixels are, where the file does not; show a scale bar.",
        )
        self.side_by_side = button(
            "Side by side",
            "Show all open images beside each other; else the marked one alone.",
            checkable=True,
        )
        self.remove = button(
            "Remove",
            "Take the image out of the project; its annotation is kept and "
            "Undo step brings it back.",
        )
        # LAYOUT
        buttons = ButtonRow(
            self.add,
            self.show_annotation,
            self.reopen,
            self.pixel_size,
            self.side_by_side,
            self.remove,
        )
        column(self, self.list, self.interpretation, buttons, inner=True)
        # CONNECTIONS
        self.list.itemChanged.connect(self._on_ticked)
        self.list.currentItemChanged.connect(self._on_current)
        self.add.clicked.connect(self._on_add)
        self.show_annotation.clicked.connect(self._on_show)
        self.reopen.clicked.connect(self._on_reopen)
        self.pixel_size.clicked.connect(self._on_pixel_size)
        self.side_by_side.clicked.connect(workspace.side_by_side.set_shown)
        self.list.itemDoubleClicked.connect(self._on_zoom)
        self.remove.clicked.connect(self._on_remove)
        follow(self, self._images.changed, self.refresh)
        follow(self, self._images.current_changed, self.refresh)
        follow(self, workspace.annotating.changed, self.refresh)
        follow(self, workspace.side_by_side.changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the images as they are now."""
        images, image = self._workspace.store.project.images, self._images.current
        # filling the list is not a choice of the user
        with blocked(self.list):
            for number, item in enumerate(self.list.resize_to(len(images))):
                self._fill(item, images[number])
                if image is not None and images[number].id == image.id:
                    self.list.setCurrentRow(number)
        self.list.fit_height()
        self.list.setVisible(bool(images))
        open_ = image is not None and bool(self._images.layers(image.id))
        shown = image is not None and bool(self._images.annotation_layer(image.id))
        lines = [] if image is None else [_words(image), *image.notes]
        self.interpretation.setText("\n".join(lines))
        self.remove.setVisible(image is not None)
        self.pixel_size.setVisible(open_)
        self.side_by_side.setVisible(len(images) > 1)
        self.side_by_side.setChecked(self._workspace.side_by_side.shown)
        self.show_annotation.setVisible(open_ and not shown)
        begun = image is not None and image.annotated
        self.show_annotation.setText(SHOW if begun else NEW)
        self.reopen.setVisible(image is not None and not open_)
        allow(
            self.add,
            bool(self._images.candidates()),
            "There is no other image layer: open an image first.",
        )

    def add_layers(self, layers: Sequence[Layer], axes: str | None, level: int) -> None:
        """Take layers into the project and make the layer to paint in."""
        _add(self._workspace, layers, axes, level)

    def _fill(self, item: QListWidgetItem, image: ProjectImage) -> None:
        state = ""
        if not self._images.layers(image.id):
            state = " · closed"
        elif not self._images.annotation_layer(image.id):
            begun = image.annotated
            state = f" · {'annotation not shown' if begun else 'no annotation'}"
        source = image.sources[0].path or "not from a file"
        item.setData(_ID, image.id)
        item.setText(f"{image.name}{state}")
        item.setToolTip("\n".join([image.name, _words(image), *image.notes, source]))
        ticks = Qt.CheckState
        item.setCheckState(ticks.Checked if image.use_for_training else ticks.Unchecked)

    def _on_ticked(self, item: QListWidgetItem) -> None:
        ticked = item.checkState() == Qt.CheckState.Checked
        self._images.set_use_for_training(item.data(_ID), ticked)

    def _on_current(self, item: QListWidgetItem | None, _: object = None) -> None:
        if item is not None:
            self._images.set_current(item.data(_ID))

    def _on_zoom(self, item: QListWidgetItem) -> None:
        zoom_to(self._workspace.viewer, self._images.layers(item.data(_ID)))

    def _on_pixel_size(self) -> None:
        image = self._images.current
        if image is not None:
            PixelSizeDialog(self._workspace, image, self).open()

    def _on_add(self) -> None:
        candidates = self._images.candidates()
        selected = self._workspace.viewer.layers.selection
        chosen = [layer for layer in candidates if layer in selected] or candidates[:1]
        if not needs_dialog(candidates, chosen):
            then = partial(_add_plain, self._workspace, chosen)
            self._images.files.when_read(chosen, then)
            return
        dialog = AddImageDialog(self._images, candidates, chosen, self)
        dialog.chosen.connect(self.add_layers)
        dialog.open()

    def _on_show(self) -> None:
        image = self._images.current
        if image is not None:
            with report_errors(self._workspace):
                self._workspace.annotating.layers.show(image.id)

    def _on_remove(self) -> None:
        image = self._images.current
        if image is not None:
            self._images.remove(image.id)

    def _on_reopen(self) -> None:
        """Open the files at their known paths, or ask where they are."""
        image = self._images.current
        if image is None:
            return
        paths = [source.path for source in image.sources if source.path]
        window = self.window()
        if not paths or image in self._workspace.store.missing:
            ask_where(self._workspace, image, self if window is None else window)
            return
        with report_errors(self._workspace):
            open_image(self._workspace.viewer, self._images, image)
            self._images.set_current(image.id)


def _words(image: ProjectImage) -> str:
    return in_words(image.axes, image.shape, image.channels, image.spacing_um)


def _add(
    workspace: Workspace, layers: Sequence[Layer], axes: str | None, level: int
) -> None:
    with report_errors(workspace):
        image = workspace.images.add(layers, axes, level)
        workspace.annotating.layers.show(image.id)
        # what is painted on another image is not to lie on this one
        workspace.images.set_current(image.id)


def _add_plain(workspace: Workspace, chosen: Sequence[Layer]) -> None:
    """Add layers that leave nothing to be asked, if they are still there."""
    candidates = [] if workspace.closed else workspace.images.candidates()
    if all(any(layer is one for one in candidates) for layer in chosen):
        _add(workspace, chosen, None, 0)
