"""Which slices are annotated, how many cells they have, which are finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.widgets import (
    SPACING,
    ButtonRow,
    Elided,
    allow,
    blocked,
    follow,
    row,
)
from napari_unet.session.annotating.object_index import describe_objects
from napari_unet.session.annotating.shortcuts import key_of

if TYPE_CHECKING:
    from napari_unet.session.project.record import ProjectImage
    from napari_unet.session.workspace import Workspace

_ROWS = 5
_PLACE = Qt.ItemDataRole.UserRole


class SlicePanel(QWidget):
    """The slice in view, and a list of all annotated slices of a stack.

    Parameters
    ----------
    workspace : Workspace
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._images, self._annotating = workspace.images, workspace.annotating
        self._object_index = workspace.annotating.object_index
        # WIDGETS
        self.here = Elided()
        back, forth = key_of("next_annotated", -1), key_of("next_annotated", 1)
        self.previous = _arrow(
            Qt.ArrowType.LeftArrow, f"Previous annotated slice ({back})."
        )
        self.next = _arrow(Qt.ArrowType.RightArrow, f"Next annotated slice ({forth}).")
        self.finished = QPushButton(
            f"Slice finished ({key_of('finishing.toggle_slice')})"
        )
        self.finished.setCheckable(True)
        self.finished.setToolTip(
            "All cells of this slice are painted: what is left blank in it is "
            "background, and is trained on as such."
        )
        self.view = QPushButton("View finished")
        self.view.setToolTip(
            "The same for the part of the slice that the canvas shows; a green frame "
            "marks it."
        )
        self.list = QListWidget()
        self.list.setToolTip("Annotated slices; click on one to go there.")
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addLayout(row(self.previous, self.next, self.here, stretch=2))
        layout.addWidget(self.list)
        layout.addWidget(ButtonRow(self.finished, self.view))
        # CONNECTIONS
        self.previous.clicked.connect(self._on_previous)
        self.next.clicked.connect(self._on_next)
        self.finished.clicked.connect(self._on_finished)
        self.view.clicked.connect(self._on_view)
        self.list.itemClicked.connect(self._on_item)
        self.list.itemActivated.connect(self._on_item)
        follow(self, self._object_index.changed, self.refresh)
        follow(self, self._annotating.changed, self.refresh)
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
        places = [(t, z or 0) for t, z in self._images.places(image.id)]
        with blocked(self.list):
            while self.list.count() > len(places):
                self.list.takeItem(self.list.count() - 1)
            while self.list.count() < len(places):
                self.list.addItem(QListWidgetItem())
            for number, place in enumerate(places):
                item = self.list.item(number)
                item.setText(self._describe(image, *place))
                item.setData(_PLACE, place)
        height = max(self.list.sizeHintForRow(0), 18)
        frame = 2 * self.list.frameWidth()
        self.list.setFixedHeight(min(max(len(places), 1), _ROWS) * height + frame + 2)
        self.list.setVisible(bool(places))

    def _describe(self, image: ProjectImage, t: int, z: int) -> str:
        """Say in a line what a slice has."""
        parts = [f"time {t}"] if "t" in image.axes else []
        parts += [f"slice {z}"] if "z" in image.axes else []
        found = self._object_index.of(image.id, t, z)
        painted = (t, z) in [(u, w or 0) for u, w in self._images.places(image.id)]
        if not painted:
            parts.append("nothing annotated")
        elif found is not None:
            classes = self._workspace.store.project.classes
            parts.append(describe_objects(found.ids, image.class_of, classes))
        if self._annotating.finishing.is_finished(image.id, t, z):
            parts.append("finished")
        elif any((p.t, p.z) == (t, z) for p in image.finished):
            parts.append("partly finished")
        text = ", ".join(parts)
        return text[:1].upper() + text[1:]

    def _show_here(self) -> None:
        image = self._images.current
        if image is None:
            self.here.tell("")
            return
        t, z = self._images.place_in_view(image.id)
        self.here.tell(self._describe(image, t, z))
        self.finished.setChecked(self._annotating.finishing.is_finished(image.id, t, z))
        annotated = self._images.annotation_layer(image.id) is not None
        for button in (self.finished, self.view):
            allow(button, annotated, "The annotation is not shown.")

    def _on_previous(self) -> None:
        with report_errors(self._workspace):
            self._annotating.next_annotated(-1)

    def _on_next(self) -> None:
        with report_errors(self._workspace):
            self._annotating.next_annotated(1)

    def _on_finished(self) -> None:
        with report_errors(self._workspace):
            self._annotating.finishing.toggle_slice()
        self._show_here()

    def _on_view(self) -> None:
        with report_errors(self._workspace):
            self._annotating.finishing.finish_view()

    def _on_item(self, item: QListWidgetItem) -> None:
        image = self._images.current
        if image is not None:
            t, z = item.data(_PLACE)
            self._annotating.go_to(image.id, t, z)


def _arrow(kind: Qt.ArrowType, tip: str) -> QToolButton:
    button = QToolButton()
    button.setArrowType(kind)
    button.setToolTip(tip)
    return button
