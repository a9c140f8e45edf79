"""The annotation layers: created, coloured, recorded, and restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT
from napari_unet.core.cells.objects import ObjectClass
from napari_unet.session.annotating.colours import LayerColours
from napari_unet.session.annotating.edits import Edit, EditStream
from napari_unet.session.annotating.label_range import label_dtype, make_room
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.images import layers as roles
from napari_unet.session.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_unet.io.project_record import Project
    from napari_unet.session.annotating.brush import Brush
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore

OPACITY = 0.5

# Above this, only objects with a class of their own are listed in the features.
_MANY = 20_000
# Seconds between two updates of the features table.
_FEATURES_EVERY = 1.0


@dataclass(slots=True, eq=False)
class _Shown:
    """An annotation layer in the viewer, and the state of its features table."""

    layer: Labels
    stream: EditStream
    colours: LayerColours
    described: tuple[object, ...] = ()


class AnnotationLayers:
    """Keeps an annotation layer for each image that has one, until it is deleted.

    What is painted goes to the annotation's file at once; deleting a layer leaves the
    file, and `show` brings the layer back.
    """

    edited = Signal(str, object)
    """Id of an image and the `Edit` in its annotation."""
    shown = Signal(object)
    """A new layer."""
    changed = Signal()
    """A layer came or went."""
    unfit = Signal(str)
    """Why a layer, as it is now, is not saved; a sentence."""

    def __init__(
        self,
        viewer: ViewerModel,
        store: ProjectStore,
        images: ImageList,
        brush: Brush,
    ) -> None:
        self._viewer = viewer
        self._store = store
        self._images = images
        self._brush = brush
        self._shown: dict[str, _Shown] = {}
        # Of images that left the project, and may come back by undo.
        self._withdrawn: set[str] = set()
        self._covered: set[str] = set()
        self._describing = Throttle(_FEATURES_EVERY)
        self._turn = 0
        viewer.layers.events.removed.connect(self._on_removed)
        images.attached.connect(self._on_attached)
        store.changed.connect(self._on_project)
        store.replaced.connect(self._on_replaced)
        brush.changed.connect(self._on_brush)

    def show(self, image_id: str) -> Labels:
        """Return the layer of an image's annotation; made if missing."""
        known = self._shown.get(image_id)
        if known is not None:
            return known.layer
        image = self._store.project.image(image_id)
        file = self._store.annotation(image_id)
        own = self._images.layers(image_id)
        like: dict[str, Any] = {}
        if own:
            like = roles.attributes_like(
                own[0], image.axes, image.annotation_axes, image.level
            )
        layer = self._viewer.add_labels(
            file.copy(label_dtype(file.highest)),
            name=roles.name_for(image.name, "Annotation"),
            metadata=roles.note("annotation", image_id),
            opacity=OPACITY,
            **like,
        )
        roles.put_in_order(self._viewer, layer)
        if not image.annotated:
            self._store.update(self._store.project.with_image(image.begun()))
        colours = LayerColours(layer, image_id, self._store, self._brush)
        self._shown[image_id] = _Shown(layer, self._record(image_id, layer), colours)
        self._brush.attach(layer)
        self._viewer.layers.selection.active = layer
        layer.mode = "paint"
        self.shown.emit(layer)
        self._brush.next_cell()
        self.changed.emit()
        return layer

    def rest(self, image_id: str) -> Callable[[], None]:
        """Lock the annotation of an image; the returned function unlocks it."""
        shown = self._shown.get(image_id)
        if shown is None:
            return lambda: None
        layer, mode = shown.layer, shown.layer.mode
        layer.editable = False

        def resume() -> None:
            layer.editable = True
            layer.mode = mode

        return resume

    def shown_layers(self) -> list[Labels]:
        """Return the layers that are in the viewer."""
        return [shown.layer for shown in self._shown.values()]

    def show_known(self) -> None:
        """Show the annotation of all open images; remove layers of other projects."""
        for role in ("annotation", "finished", "suggested"):
            for layer in roles.find(self._viewer, role):
                self._viewer.layers.remove(layer)
        for image in self._store.project.images:
            self._on_attached(image.id)

    def tick(self) -> None:
        """Find edits that had no event; keep order and features of the layers."""
        while self._covered:
            self._uncover(self._covered.pop())
        for shown in self._due():
            shown.stream.tick()
            # an id may be chosen with napari's controls, too
            make_room(shown.layer, int(shown.layer.selected_label))
        self._tell_apart()
        if self._describing.take():
            for image_id, shown in self._in_project():
                self._describe(shown, image_id)

    def close(self) -> None:
        """Disconnect from the layers; they stay in the viewer."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._images.attached.disconnect(self._on_attached)
        self._store.changed.disconnect(self._on_project)
        self._store.replaced.disconnect(self._on_replaced)
        self._brush.changed.disconnect(self._on_brush)
        for image_id in list(self._shown):
            self._let_go(image_id)

    def _due(self) -> list[_Shown]:
        """Return the current image's layer and one of the others, in turn."""
        current = self._images.current
        own = self._shown.get(current.id) if current is not None else None
        others = [shown for shown in self._shown.values() if shown is not own]
        self._turn += 1
        due = [others[self._turn % len(others)]] if others else []
        return [own, *due] if own is not None else due

    def _tell_apart(self) -> None:
        """Give neighbours in view different colours."""
        current = self._images.current
        shown = self._shown.get(current.id) if current is not None else None
        if current is not None and shown is not None:
            shown.colours.tell_apart(*self._images.place_in_view(current.id))

    def _in_project(self) -> list[tuple[str, _Shown]]:
        ids = self._store.project.ids
        return [(id_, shown) for id_, shown in self._shown.items() if id_ in ids]

    def _record(self, image_id: str, layer: Labels) -> EditStream:
        """Write what changes in a layer to the annotation's file from now on."""

        def on_edit(edit: Edit) -> None:
            # the last content of a layer is saved when it is released
            if image_id in self._shown:
                self._shown[image_id].colours.follow_edit(edit)
                self.edited.emit(image_id, edit)

        stream = EditStream(layer, self._store.annotation(image_id), self._viewer)
        stream.edited.connect(on_edit)
        forward_signal(stream.unfit, self.unfit)
        return stream

    def _let_go(self, image_id: str) -> None:
        shown = self._shown.pop(image_id)
        shown.stream.detach()
        self._brush.detach(shown.layer)

    def _on_removed(self, event: Any) -> None:
        for image_id, shown in list(self._shown.items()):
            if shown.layer is event.value:
                self._let_go(image_id)
                self.changed.emit()

    def _on_attached(self, image_id: str) -> None:
        image = self._store.project.image(image_id)
        if image.annotated and self._images.layers(image_id):
            if image_id in self._shown:
                # later, as the list of layers is changing now
                self._covered.add(image_id)
            self.show(image_id)

    def _uncover(self, image_id: str) -> None:
        """Move a layer above those of its image, after these were restored."""
        shown, layers = self._shown.get(image_id), self._viewer.layers
        if shown is not None:
            above = max(map(layers.index, self._images.layers(image_id)), default=-1)
            own = layers.index(shown.layer)
            if own < above:
                layers.move(own, above + 1)

    def _on_project(self, project: Project) -> None:
        """Remove the layers of images that left the project; restore others."""
        ids = project.ids
        for image_id in [i for i in self._shown if i not in ids]:
            self._withdrawn.add(image_id)
            layer = self._shown[image_id].layer
            self._let_go(image_id)
            self._viewer.layers.remove(layer)
            self.changed.emit()
        for image_id in [i for i in self._withdrawn if i in ids]:
            self._withdrawn.remove(image_id)
            self._on_attached(image_id)
        for _, shown in self._in_project():
            shown.colours.follow_project()

    def _on_replaced(self, image_id: str) -> None:
        """Show the content of a file that took the place of another."""
        shown = self._shown.get(image_id)
        if shown is None:
            return
        layer = shown.layer
        shown.stream.detach()
        file = self._store.annotation(image_id)
        layer.data = file.copy(label_dtype(file.highest))
        # napari's undo would bring back pixels of before.
        mode = layer.mode
        layer.editable = False
        layer.editable = True
        layer.mode = mode
        shown.stream = self._record(image_id, layer)
        shown.colours.renew()
        self._brush.renew(image_id)
        self.changed.emit()

    def _on_brush(self) -> None:
        for _, shown in self._in_project():
            shown.colours.follow_brush()

    def _describe(self, shown: _Shown, image_id: str) -> None:
        """Keep the features table: an index and the class of each object.

        All classes, with the first of objects that are not listed, are in the note.
        """
        classes = self._store.project.classes
        class_of = self._store.project.image(image_id).class_of
        highest = self._store.annotation(image_id).highest
        if (highest, class_of, classes) == shown.described:
            return
        shown.described = (highest, class_of, classes)
        every = range(FIRST_OBJECT, highest + 1) if highest <= _MANY else ()
        ids = sorted({*every, *class_of})
        names = [classes[class_of.get(i, 1) - 1].name for i in ids]
        shown.layer.features = {
            "index": np.array([BACKGROUND, *ids]),
            "class": np.array(["background", *names]),
        }
        roles.noted(shown.layer)["classes"] = [
            ObjectClass(one.name, one.colour) for one in classes
        ]
