"""The project's images: which are used, what is open, what is annotated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_unet.gui.annotate.add_image_dialog import AddImageDialog, needs_dialog
from napari_unet.gui.annotate.locate_image_dialog import ask_where
from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.widgets import SPACING, ButtonRow, Hint, allow, blocked, follow
from napari_unet.session.images.interpretation import in_words
from napari_unet.session.images.reopening import open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_unet.session.project.record import ProjectImage
    from napari_unet.session.workspace import Workspace

NEW, SHOW, OPEN = "New annotation", "Show annotation", "Open image…"
_ROWS = 5
_ID = Qt.ItemDataRole.UserRole


class ImagePanel(QWidget):
    """Lists the images; the marked one is the current one, a tick means training.

    Parameters
    ----------
    workspace : Workspace
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._images, self._annotating = workspace.images, workspace.annotating
        # WIDGETS
        self.list = QListWidget()
        self.list.setToolTip(
            "Images of this project. Ticked ones are used for training."
        )
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.taken = Hint()
        self.add = QPushButton("Add image…")
        self.add.setToolTip(
            "Take image layers of the viewer into the project: the selected ones, "
            "also several as the channels of one image."
        )
        self.show_annotation = QPushButton(NEW)
        self.show_annotation.setToolTip(
            "Make the layer to paint in, or bring it back with all that was painted."
        )
        self.reopen = QPushButton(OPEN)
        self.reopen.setToolTip("Open the file of this image, or say where it is now.")
        self.remove = QPushButton("Remove")
        self.remove.setToolTip(
            "Take the image out of the project; its annotation is kept and "
            "Undo step brings it back."
        )
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.list)
        layout.addWidget(self.taken)
        layout.addWidget(
            ButtonRow(self.add, self.show_annotation, self.reopen, self.remove)
        )
        # CONNECTIONS
        self.list.itemChanged.connect(self._on_ticked)
        self.list.currentItemChanged.connect(self._on_current)
        self.add.clicked.connect(self._on_add)
        self.show_annotation.clicked.connect(self._on_show)
        self.reopen.clicked.connect(self._on_reopen)
        self.remove.clicked.connect(self._on_remove)
        follow(self, self._images.changed, self.refresh)
        follow(self, self._images.current_changed, self.refresh)
        follow(self, self._annotating.changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the images as they are now."""
        images = self._workspace.store.project.images
        with blocked(self.list):
            self._list(images)
        self._size_to(len(images))
        image = self._images.current
        open_ = image is not None and bool(self._images.layers(image.id))
        shown = image is not None and bool(self._images.annotation_layer(image.id))
        self.list.setVisible(bool(images))
        told = "" if image is None else "\n".join([_words(image), *image.notes])
        self.taken.tell(told)
        self.remove.setVisible(image is not None)
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

    def _list(self, images: Sequence[ProjectImage]) -> None:
        """Fill the list; items stay the same objects where they can."""
        while self.list.count() > len(images):
            self.list.takeItem(self.list.count() - 1)
        while self.list.count() < len(images):
            self.list.addItem(QListWidgetItem())
        current = self._images.current
        for number, image in enumerate(images):
            item = self.list.item(number)
            item.setData(_ID, image.id)
            text, tip = self._describe(image)
            item.setText(text)
            item.setToolTip(tip)
            checked = (
                Qt.CheckState.Checked
                if image.use_for_training
                else Qt.CheckState.Unchecked
            )
            item.setCheckState(checked)
            if current is not None and image.id == current.id:
                self.list.setCurrentRow(number)

    def _describe(self, image: ProjectImage) -> tuple[str, str]:
        """Return a line for the list, and its tooltip."""
        open_ = bool(self._images.layers(image.id))
        state = "" if open_ else " · closed"
        if open_ and not self._images.annotation_layer(image.id):
            state = (
                f" · {'annotation not shown' if image.annotated else 'no annotation'}"
            )
        where = image.sources[0].path or "not from a file"
        lines = [image.name, _words(image), *image.notes, where]
        return f"{image.name}{state}", "\n".join(lines)

    def _size_to(self, count: int) -> None:
        row = self.list.sizeHintForRow(0) if count else 0
        frame = 2 * self.list.frameWidth()
        self.list.setFixedHeight(min(max(count, 1), _ROWS) * max(row, 18) + frame + 2)

    def _on_ticked(self, item: QListWidgetItem) -> None:
        ticked = item.checkState() == Qt.CheckState.Checked
        self._images.set_use_for_training(item.data(_ID), ticked)

    def _on_current(self, item: QListWidgetItem | None, _: object = None) -> None:
        if item is not None:
            self._images.set_current(item.data(_ID))

    def _on_add(self) -> None:
        candidates = self._images.candidates()
        selected = self._workspace.viewer.layers.selection
        chosen = [layer for layer in candidates if layer in selected] or candidates[:1]
        if not needs_dialog(candidates, chosen):
            then = partial(_add_plain, self._workspace, chosen)
            self._images.when_read(chosen, then)
            return
        dialog = AddImageDialog(self._images, candidates, chosen, self)
        dialog.chosen.connect(self.add_layers)
        dialog.open()

    def _on_show(self) -> None:
        image = self._images.current
        if image is not None:
            with report_errors(self._workspace):
                self._annotating.layers.show(image.id)

    def _on_remove(self) -> None:
        image = self._images.current
        if image is not None:
            self._images.remove(image.id)

    def _on_reopen(self) -> None:
        """Open the files where they were, or ask where they are now."""
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


def _add_plain(workspace: Workspace, chosen: Sequence[Layer]) -> None:
    """Add layers that leave nothing to be asked, if they are still there."""
    candidates = [] if workspace.closed else workspace.images.candidates()
    if all(any(layer is one for one in candidates) for layer in chosen):
        _add(workspace, chosen, None, 0)
