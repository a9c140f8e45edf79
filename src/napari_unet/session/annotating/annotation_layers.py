"""The layers that people paint in: made, coloured, recorded, and brought back."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT
from napari_unet.session.annotating.colours import LAST_IN_CYCLE, colormap_of
from napari_unet.session.annotating.edits import Edit, EditStream
from napari_unet.session.annotating.label_range import (
    label_dtype,
    make_room,
    values_in,
)
from napari_unet.session.images import layers as roles
from napari_unet.session.project.places_log import HIGHEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_unet.session.annotating.brush import Brush
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import Project, ProjectClass, ProjectImage
    from napari_unet.session.project.store import ProjectStore

OPACITY = 0.5

# Ids that get their colour before they are used: colours cost some milliseconds.
_AHEAD, _MARGIN = 512, 32
# Above this, only objects with a class of their own are listed in the features.
_MANY = 20_000
# Seconds between two updates of the features table.
_FEATURES_EVERY = 1.0


@dataclass(slots=True, eq=False)
class _Shown:
    """An annotation layer in the viewer, and what its colours were made of.

    All ids up to `prepared` have their colour; or only the `listed` ones, where ids
    are so high that a cycle of colours would come round.
    """

    layer: Labels
    stream: EditStream
    classes: tuple[ProjectClass, ...] = ()
    class_of: dict[int, int] = field(default_factory=dict)
    coloured: dict[int, int] = field(default_factory=dict)
    prepared: int = 0
    listed: frozenset[int] | None = None
    described: tuple[object, ...] = ()


class AnnotationLayers:
    """Keeps an annotation layer for each image that has one, until it is deleted.

    What is painted goes to the annotation's file at once; deleting a layer leaves the
    file, and `show` brings the layer back.

    Parameters
    ----------
    viewer : ViewerModel
    store : ProjectStore
    images : ImageList
    brush : Brush
    """

    edited = Signal(str, object)
    """Id of an image and the `Edit` in its annotation."""
    shown = Signal(object)
    """A new layer."""
    changed = Signal()
    """A layer came or went."""
    unfit = Signal(str)
    """Why what is in a layer now is not recorded."""

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
        self._withdrawn: set[str] = set()
        self._covered: set[str] = set()
        self._described_at = 0.0
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
        layer = self._viewer.add_labels(
            file.copy(label_dtype(file.highest)),
            name=roles.name_for(image.name, "annotation"),
            metadata=roles.note("annotation", image_id),
            opacity=OPACITY,
            **self._place_of(image),
        )
        if not image.annotated:
            image = image.begun()
            self._store.update(self._store.project.with_image(image))
        stream = EditStream(layer, file, self._viewer)
        shown = self._shown[image_id] = _Shown(layer, stream)
        self._follow(image_id, stream)
        self._colour(shown, image)
        self._brush.take(layer, image.annotation_shape)
        self._viewer.layers.selection.active = layer
        layer.mode = "paint"
        self.shown.emit(layer)
        self._brush.next_cell()
        self.changed.emit()
        return layer

    def show_known(self) -> None:
        """Show the annotation of all open images; layers left by another project go."""
        for role in ("annotation", "finished"):
            for layer in roles.find(self._viewer, role):
                self._viewer.layers.remove(layer)
        for image in self._store.project.images:
            self._on_attached(image.id)

    def compare_all(self) -> None:
        """Record what is in the layers now."""
        for shown in self._shown.values():
            shown.stream.compare_all()

    def tick(self) -> None:
        """Find edits that no event told of; keep colours and features in step."""
        while self._covered:
            self._uncover(self._covered.pop())
        for shown in self._due():
            shown.stream.tick()
            # chosen with napari's own means; others find room when they are chosen
            make_room(shown.layer, int(shown.layer.selected_label))
        if monotonic() - self._described_at >= _FEATURES_EVERY:
            self._described_at = monotonic()
            for image, shown in self._all():
                self._describe(shown, image)

    def close(self) -> None:
        """Follow the layers no more; they stay in the viewer."""
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
        due = others[self._turn % len(others) :][:1] if others else []
        return [own, *due] if own is not None else due

    def _all(self) -> Iterator[tuple[ProjectImage, _Shown]]:
        for image in self._store.project.images:
            if image.id in self._shown:
                yield image, self._shown[image.id]

    def _place_of(self, image: ProjectImage) -> dict[str, Any]:
        """Return scale and place of the image; nothing if it is closed."""
        own = self._images.layers(image.id)
        if not own:
            return {}
        return roles.attributes_like(
            own[0], image.axes, image.annotation_axes, image.level
        )

    def _follow(self, image_id: str, stream: EditStream) -> None:
        def edited(edit: Edit) -> None:
            shown = self._shown.get(image_id)
            if shown is not None and shown.stream is stream:
                image = self._store.project.image(image_id)
                if self._has_wrong_colours(shown, image, edit):
                    self._colour(shown, image)
                self.edited.emit(image_id, edit)

        stream.edited.connect(edited)
        stream.unfit.connect(self._on_unfit)

    def _on_unfit(self, sentence: str) -> None:
        self.unfit.emit(sentence)

    def _let_go(self, image_id: str) -> _Shown | None:
        shown = self._shown.pop(image_id, None)
        if shown is not None:
            shown.stream.compare_all()
            shown.stream.detach()
            self._brush.release(shown.layer)
        return shown

    def _on_removed(self, event: Any) -> None:
        for image_id, shown in list(self._shown.items()):
            if shown.layer is event.value:
                self._let_go(image_id)
                self.changed.emit()

    def _on_attached(self, image_id: str) -> None:
        image = self._store.project.image(image_id)
        if image.annotated and self._images.layers(image_id):
            if image_id in self._shown:
                # the list of layers is changing now: later
                self._covered.add(image_id)
            self.show(image_id)

    def _uncover(self, image_id: str) -> None:
        """Put a layer above those of its image, which came back on top of it."""
        shown, layers = self._shown.get(image_id), self._viewer.layers
        if shown is not None:
            above = max(map(layers.index, self._images.layers(image_id)), default=-1)
            own = layers.index(shown.layer)
            if own < above:
                layers.move(own, above + 1)

    def _on_project(self, project: Project) -> None:
        """Withdraw the layers of images that left the project; bring others back."""
        ids = [image.id for image in project.images]
        for image_id in [i for i in self._shown if i not in ids]:
            self._withdrawn.add(image_id)
            layer = self._shown[image_id].layer
            self._let_go(image_id)
            self._viewer.layers.remove(layer)
            self.changed.emit()
        for image_id in [i for i in self._withdrawn if i in ids]:
            self._withdrawn.remove(image_id)
            self._on_attached(image_id)
        for image, shown in self._all():
            if self._is_stale(shown, image):
                self._colour(shown, image)

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
        shown.stream = EditStream(layer, file, self._viewer)
        self._follow(image_id, shown.stream)
        self._colour(shown, self._store.project.image(image_id))
        self._brush.renew(image_id)
        self.changed.emit()

    def _on_brush(self) -> None:
        """Show the next cell in the colour of its class from its first pixel on."""
        for image, shown in self._all():
            id_ = int(shown.layer.selected_label)
            wrong = shown.coloured.get(id_, 1) != image.class_of.get(id_, 1)
            lacks = (
                id_ > shown.prepared
                if shown.listed is None
                else id_ not in shown.listed
            )
            if id_ >= FIRST_OBJECT and (wrong or lacks):
                self._colour(shown, image)

    def _is_stale(self, shown: _Shown, image: ProjectImage) -> bool:
        """Whether the colours no longer tell the classes."""
        if shown.classes != self._store.project.classes:
            return True
        used = self._used(image)
        before = {
            i: k
            for i, k in shown.coloured.items()
            if i in shown.class_of or (shown.listed is None and i <= used)
        }
        ids = {*before, *image.class_of}
        return any(before.get(i, 1) != image.class_of.get(i, 1) for i in ids)

    def _used(self, image: ProjectImage) -> int:
        highest = self._store.annotation(image.id).highest
        return max(highest, *image.class_of, BACKGROUND)

    def _colour(self, shown: _Shown, image: ProjectImage) -> None:
        classes, active = self._store.project.classes, self._brush.active_class
        selected = int(shown.layer.selected_label)
        used = max(self._used(image), selected)
        listed: set[int] | None = None
        shown.prepared = used + _AHEAD
        ahead = range(used + 1, shown.prepared + 1)
        if shown.prepared > LAST_IN_CYCLE:
            listed = {*self._painted(image.id), *image.class_of}
            last = min(selected + max(_AHEAD, len(listed) // 8), HIGHEST_ID)
            ahead = range(selected, last + 1)
        of_active = dict.fromkeys(ahead, active) if active > 1 else {}
        if listed is not None:
            of_active = {i: k for i, k in of_active.items() if i not in listed}
            listed.update(ahead)
        shown.coloured = {**of_active, **image.class_of}
        shown.layer.colormap = colormap_of(classes, shown.coloured, listed)
        shown.listed = None if listed is None else frozenset(listed)
        shown.classes, shown.class_of = classes, image.class_of

    def _painted(self, image_id: str) -> set[int]:
        """Return all values of an annotation."""
        file = self._store.annotation(image_id)
        found: set[int] = set()
        for t, z in file.places:
            found.update(values_in(file.plane(t, z or 0)).tolist())
        return found

    def _has_wrong_colours(
        self, shown: _Shown, image: ProjectImage, edit: Edit
    ) -> bool:
        """Whether an edit brought ids without a colour, or in that of another class.

        The next ids are coloured as the active class, for which most of them are; but
        cells that were split, taken over or written by a script may be of another.
        """
        file = self._store.annotation(image.id)
        if shown.listed is None and file.highest + _MARGIN > shown.prepared:
            return True
        if shown.listed is None and shown.coloured == image.class_of:
            return False
        found = values_in(file.plane(edit.t, edit.z)[edit.box]).tolist()
        if shown.listed is not None and not shown.listed.issuperset(found):
            return True
        of, coloured = image.class_of, shown.coloured
        return any(coloured.get(i, 1) != of.get(i, 1) for i in found)

    def _describe(self, shown: _Shown, image: ProjectImage) -> None:
        """Keep the features table: an index and the class of each object."""
        classes = self._store.project.classes
        highest = self._store.annotation(image.id).highest
        state = (highest, image.class_of, classes)
        if state == shown.described:
            return
        shown.described = state
        every = range(FIRST_OBJECT, highest + 1) if highest <= _MANY else ()
        ids = sorted({*every, *image.class_of})
        names = [classes[image.class_of.get(i, 1) - 1].name for i in ids]
        shown.layer.features = {
            "index": np.array([BACKGROUND, *ids]),
            "class": np.array(["background", *names]),
        }
