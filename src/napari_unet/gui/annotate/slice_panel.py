"""Which slices are annotated, how many cells they have, which are finished."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidgetItem, QToolButton, QWidget

from napari_unet.core.text import capitalised, place_words
from napari_unet.gui.annotate.item_list import ItemList
from napari_unet.gui.annotate.report_errors import reporting
from napari_unet.gui.widgets import (
    ButtonRow,
    Elided,
    allow,
    blocked,
    button,
    column,
    follow,
    row,
)
from napari_unet.session.annotating.object_index import describe_objects
from napari_unet.session.annotating.shortcuts import key_of

if TYPE_CHECKING:
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.workspace import Workspace

_PLACE = Qt.ItemDataRole.UserRole


class SlicePanel(QWidget):
    """The slice in view, and a list of all annotated slices of a stack."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._images = workspace.images
        self._annotating = annotating = workspace.annotating
        # WIDGETS
        self.here = Elided()
        back, forth = key_of("next_annotated", -1), key_of("next_annotated", 1)
        left, right = Qt.ArrowType.LeftArrow, Qt.ArrowType.RightArrow
        self.previous = _arrow(left, f"Previous annotated slice ({back}).")
        self.next = _arrow(right, f"Next annotated slice ({forth}).")
        self.finished = button(
            f"Slice finished ({key_of('finishing.toggle_slice')})",
            "All cells of this slice are painted: what is left blank in it is "
            "background, and is trained on as such.",
            checkable=True,
        )
        self.view = button(
            "View finished",
            "The same for the part of the slice that the canvas shows; a green frame "
            "marks it.",
        )
        self.list = ItemList()
        self.list.setToolTip("Annotated slices; click on one to go there.")
        # LAYOUT
        column(
            self,
            row(self.previous, self.next, self.here, stretch=2),
            self.list,
            ButtonRow(self.finished, self.view),
            inner=True,
        )
        # CONNECTIONS
        for one, act in (
            (self.previous, partial(annotating.next_annotated, -1)),
            (self.next, partial(annotating.next_annotated, 1)),
            (self.finished, annotating.finishing.toggle_slice),
            (self.view, annotating.finishing.finish_view),
        ):
            one.clicked.connect(reporting(workspace, act))
        # a click has toggled the button
        self.finished.clicked.connect(self._show_here)
        self.list.itemClicked.connect(self._on_item)
        self.list.itemActivated.connect(self._on_item)
        follow(self, annotating.object_index.changed, self.refresh)
        follow(self, annotating.changed, self.refresh)
        follow(self, self._images.current_changed, self.refresh)
        follow(self, self._images.place_changed, self._show_here)
        self.refresh()

    def refresh(self) -> None:
        """Show the slices as they are now."""
        image = self._images.current
        stack = image is not None and set("tz") & set(image.axes) != set()
        for part in (self.previous, self.next, self.list):
            part.setVisible(stack)
        self.setEnabled(image is not None)
        if image is not None and stack:
            self._list(image)
        self._show_here()

    def _list(self, image: ProjectImage) -> None:
        places = self._images.places(image.id)
        with blocked(self.list):
            items = self.list.resize_to(len(places))
            for item, place in zip(items, places, strict=True):
                item.setText(self._describe(image, *place))
                item.setData(_PLACE, place)
        self.list.fit_height()
        self.list.setVisible(bool(places))

    def _describe(self, image: ProjectImage, t: int, z: int) -> str:
        """Say in a line what a slice has."""
        parts = place_words(image.axes, t, z)
        found = self._annotating.object_index.of(image.id, t, z)
        if (t, z) not in self._images.places(image.id):
            parts.append("nothing annotated")
        elif found is not None:
            classes = self._workspace.store.project.classes
            parts.append(describe_objects(found.ids, image.class_of, classes))
        if self._annotating.finishing.is_finished(image.id, t, z):
            parts.append("finished")
        elif any((p.t, p.z) == (t, z) for p in image.finished):
            parts.append("partly finished")
        return capitalised(", ".join(parts))

    def _show_here(self) -> None:
        image = self._images.current
        if image is None:
            self.here.setText("")
            return
        t, z = self._images.place_in_view(image.id)
        self.here.setText(self._describe(image, t, z))
        self.finished.setChecked(self._annotating.finishing.is_finished(image.id, t, z))
        annotated = self._images.annotation_layer(image.id) is not None
        for one in (self.finished, self.view):
            allow(one, annotated, "The annotation is not shown.")

    def _on_item(self, item: QListWidgetItem) -> None:
        image = self._images.current
        if image is not None:
            self._annotating.go_to(image.id, *item.data(_PLACE))


def _arrow(direction: Qt.ArrowType, tooltip: str) -> QToolButton:
    arrow = QToolButton()
    arrow.setArrowType(direction)
    arrow.setToolTip(tooltip)
    return arrow
