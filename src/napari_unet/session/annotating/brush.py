"""The brush: cells of a class, background or eraser, and what it may paint over."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from psygnal import Signal

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT
from napari_unet.session.annotating.classes import check_number, record_classes
from napari_unet.session.annotating.label_range import make_room, values_in_file
from napari_unet.session.project.places_log import HIGHEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Labels

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore

Tool = Literal["cell", "background", "erase", "other"]

# Modes of napari in which a label is put into the layer.
_DRAWING = ("paint", "fill", "polygon")
# Brush of a new layer: this share of the shorter side, within these bounds in pixels.
_SHARE, _SMALLEST, _LARGEST = 50, 4, 30
# Above this, free ids are searched below, where there is still room for many cells.
_LAST_FREE = HIGHEST_ID - 2**24


class Brush:
    """Sets napari's own tools: label, mode, and whether painted pixels are kept.

    Painting a cell or background leaves what is painted as it is (`keep`), so that
    touching cells and the background around them are easy to paint; erasing erases
    anything.
    """

    changed = Signal()
    """Class, tool, label or size."""

    def __init__(self, store: ProjectStore, images: ImageList) -> None:
        self._store = store
        self._images = images
        self._class = 1
        self._keep = True
        self._busy = False
        self._labels: dict[str, int] = {}

    @property
    def active_class(self) -> int:
        """Number of the class that new cells get."""
        return min(self._class, len(self._store.project.classes))

    @property
    def keep(self) -> bool:
        """Whether painting leaves what is painted as it is."""
        return self._keep

    def set_keep(self, keep: bool) -> None:
        """Keep painted pixels, or paint over them."""
        self._keep = keep
        layer = self.layer
        if layer is not None:
            self._apply_keep(layer)
        self.changed.emit()

    @property
    def layer(self) -> Labels | None:
        """Annotation layer of the current image."""
        image = self._images.current
        return self._images.annotation_layer(image.id) if image is not None else None

    @property
    def tool(self) -> Tool:
        """What the next stroke does; "other" also while another layer is active."""
        layer = self.layer
        if layer is None or not self._images.is_active(layer):
            return "other"
        if layer.mode not in (*_DRAWING, "erase"):
            return "other"
        if layer.mode == "erase" or layer.selected_label == 0:
            return "erase"
        return "background" if layer.selected_label == BACKGROUND else "cell"

    @property
    def painted_cell(self) -> int | None:
        """Id of the existing cell that the brush paints; None for a new one."""
        image, layer = self._images.current, self.layer
        if image is None or layer is None or self.tool != "cell":
            return None
        cell = int(layer.selected_label)
        return cell if cell < self.free_id(image.id) else None

    def attach(self, layer: Labels) -> None:
        """Prepare a new annotation layer so that painting a cell can begin."""
        layer.n_edit_dimensions = 2
        layer.brush_size = usual_size(layer.data.shape)
        layer.events.selected_label.connect(self._on_label)
        layer.events.preserve_labels.connect(self._on_preserve)
        layer.events.mode.connect(self._on_mode)
        layer.events.brush_size.connect(self._on_size)
        layer.events.visible.connect(self._on_size)

    def detach(self, layer: Labels) -> None:
        """Disconnect from a layer."""
        layer.events.selected_label.disconnect(self._on_label)
        layer.events.preserve_labels.disconnect(self._on_preserve)
        layer.events.mode.disconnect(self._on_mode)
        layer.events.brush_size.disconnect(self._on_size)
        layer.events.visible.disconnect(self._on_size)

    def next_cell(self) -> None:
        """Choose an id that no object has; for regions, the id of the class."""
        image, layer = self._target()
        number = self.active_class
        is_region = self._store.project.classes[number - 1].kind == "regions"
        id_ = None
        if is_region:
            # all its areas have one id
            same = (i for i, k in image.class_of.items() if k == number)
            id_ = min(same, default=None)
        if id_ is None:
            id_ = self.free_id(image.id)
            if number > 1 or is_region or id_ in image.class_of:
                record_classes(self._store, image.id, {id_: number})
        self._select(layer, id_)

    def background(self) -> None:
        """Paint background."""
        _, layer = self._target()
        self._select(layer, BACKGROUND)

    def erase(self) -> None:
        """Erase annotation."""
        _, layer = self._target()
        layer.mode = "erase"

    def set_class(self, number: int) -> None:
        """Paint cells of another class; ValueError if there is none of this number."""
        check_number(self._store.project, number)
        self._class = number
        if self.layer is not None:
            self.next_cell()
        self.changed.emit()

    def follow_class(self, number: int) -> None:
        """Use the new class of the cell that the brush paints; its id stays."""
        self._class = number
        self.changed.emit()

    def fresh_id(self, image_id: str) -> int:
        """Return an id from which on none is painted, given a class, or selected."""
        image = self._store.project.image(image_id)
        layer = self._images.annotation_layer(image_id)
        selected = int(layer.selected_label) if layer is not None else BACKGROUND
        used = (self.free_id(image_id) - 1, *image.class_of, selected)
        if max(used) < _LAST_FREE:
            return max(used) + 1
        return self._in_the_widest_gap(image, selected)

    def free_id(self, image_id: str) -> int:
        """Return the lowest id above all that were ever painted.

        Where that leaves no room for more, the first of the widest gap between them.
        """
        image = self._store.project.image(image_id)
        highest = self._store.annotation(image_id).highest if image.annotated else 0
        if highest < _LAST_FREE:
            return max(highest, BACKGROUND) + 1
        return self._in_the_widest_gap(image)

    def _in_the_widest_gap(self, image: ProjectImage, *others: int) -> int:
        found = {BACKGROUND, *image.class_of, *others}
        if image.annotated:
            found |= values_in_file(self._store.annotation(image.id))
        ids = np.array(sorted(found))
        return int(ids[np.argmax(np.diff(ids))]) + 1

    def renew(self, image_id: str) -> None:
        """Choose another id for the next cell if an object got the one selected."""
        layer, image = self.layer, self._images.current
        if layer is None or image is None or image.id != image_id:
            return
        if FIRST_OBJECT <= layer.selected_label < self.free_id(image_id):
            mode = layer.mode
            self.next_cell()
            layer.mode = mode

    def _target(self) -> tuple[ProjectImage, Labels]:
        image, layer = self._images.current, self.layer
        if image is None or layer is None:
            raise ValueError("There is no annotation to paint in: add an image first.")
        return image, layer

    def _select(self, layer: Labels, id_: int) -> None:
        make_room(layer, id_)
        with self._own_change():
            layer.selected_label = id_
            if layer.mode not in _DRAWING:
                layer.mode = "paint"
            self._apply_keep(layer)
        self.changed.emit()

    def _apply_keep(self, layer: Labels) -> None:
        with self._own_change():
            layer.preserve_labels = self._keep and layer.mode != "erase"

    @contextmanager
    def _own_change(self) -> Iterator[None]:
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def _on_label(self, event: Any) -> None:
        """React to a label that was chosen with napari's controls."""
        layer = event.source
        image_id, id_ = self._images.id_of(layer), int(layer.selected_label)
        # The event also comes when only the label's colour is new.
        if image_id is None or self._labels.get(image_id) == id_:
            return
        self._labels[image_id] = id_
        if not self._busy and id_ >= FIRST_OBJECT:
            class_of = self._store.project.image(image_id).class_of
            if id_ < self.free_id(image_id) or id_ in class_of:
                self._class = class_of.get(id_, 1)
            elif self.active_class > 1:
                record_classes(self._store, image_id, {id_: self.active_class})
        self.changed.emit()

    def _on_mode(self, event: Any) -> None:
        self._apply_keep(event.source)
        self.changed.emit()

    def _on_preserve(self, event: Any) -> None:
        """Follow napari's own toggle."""
        layer = event.source
        if not self._busy and layer.mode != "erase":
            self._keep = bool(layer.preserve_labels)
            self.changed.emit()

    def _on_size(self, event: Any) -> None:
        self.changed.emit()


def usual_size(shape: tuple[int, ...]) -> int:
    """Return the initial size of the brush for a layer of a shape."""
    return min(max(min(shape[-2:]) // _SHARE, _SMALLEST), _LARGEST)


def current_image(images: ImageList) -> ProjectImage:
    """Return the current image; ValueError if there is none."""
    if images.current is None:
        raise ValueError("There is no image in the project yet.")
    return images.current
