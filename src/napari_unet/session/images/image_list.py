"""The project's images and the layers they are shown in, found by identity."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from psygnal import Signal

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.geometry.boxes import axis_sizes
from napari_unet.core.images.array_reference import AnnotationReference, ImageReference
from napari_unet.core.images.image import ImageFile
from napari_unet.session.annotating.shortcuts import readable
from napari_unet.session.future import all_of
from napari_unet.session.images import interpretation
from napari_unet.session.images import layers as roles
from napari_unet.session.images.channel_layers import (
    are_in_the_way,
    part_channels,
    parted,
)
from napari_unet.session.images.image_layers import (
    check_channels,
    check_images,
    describe,
    fingerprint_of,
    fits,
    is_image,
    selections,
)
from napari_unet.session.images.layer_isolation import LayerIsolation
from napari_unet.session.images.source_files import SourceFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.future import Future
    from napari_unet.session.images.interpretation import Interpretation
    from napari_unet.session.images.shared_arrays import SharedArrays
    from napari_unet.session.project.places_log import PlaneIndex
    from napari_unet.session.project.store import ProjectStore

_Value = TypeVar("_Value")

_ADVICE = "If that is wrong, remove the image and add it again with other axes."


class ImageList:
    """The project's images in the viewer.

    An image whose layers were deleted stays in the project, closed. It is attached
    again when a layer with the same pixels appears.

    `files` reads the metadata of the layers' files; in this thread unless given.
    """

    changed = Signal()
    """Images, their use for training, or the layers that show them, changed."""
    current_changed = Signal()
    """Another image or another layer is the current one."""
    place_changed = Signal()
    """The viewer's sliders moved."""
    attached = Signal(str)
    """An image got its layers, again or for the first time."""
    message = Signal(str, str)
    """A level (info, warning) and a sentence."""

    def __init__(
        self,
        viewer: ViewerModel,
        store: ProjectStore,
        sharing: SharedArrays,
        files: SourceFiles | None = None,
    ) -> None:
        self._viewer = viewer
        self._store = store
        self._sharing = sharing
        self.files = files or SourceFiles()
        # weak, so that the pixels of a deleted layer are freed
        self._layers: dict[str, tuple[ref[Layer], ...]] = {}
        self._last: str | None = None
        self._isolation = LayerIsolation(viewer, self.id_of)
        for event, slot in self._connections():
            event.connect(slot)
        self.part_channels(self._attach_all(viewer.layers))

    def _connections(self) -> list[tuple[Any, Any]]:
        layers = self._viewer.layers
        return [
            (layers.events.inserted, self._on_inserted),
            (layers.events.removed, self._on_removed),
            (layers.selection.events.active, self._on_active),
            (self._viewer.dims.events.current_step, self._on_step),
            (self._store.changed, self._on_project),
            (self.files.read, self._on_project),
        ]

    def close(self) -> None:
        """Stop following the viewer."""
        # the next project would not know that they are hidden for no lasting reason
        self._isolation.show_all()
        for event, slot in self._connections():
            event.disconnect(slot)
        for layers in self._layers.values():
            for layer in filter(None, (reference() for reference in layers)):
                layer.events.data.disconnect(self._on_data)

    def add(
        self, layers: Sequence[Layer], axes: str | None = None, level: int = 0
    ) -> ProjectImage:
        """Add image layers to the project, as the channels of one image.

        ValueError if they do not fit together, or are no images.

        `axes` has a letter for each axis of a layer's data; unless given, they are
        those that the layer or its file names, or else a guess. `level` is that of a
        multiscale image, 0 the finest.
        """
        found = self._interpreted(layers, axes, level)
        if any(self.id_of(layer) for layer in layers):
            raise ValueError(f"{layers[0].name} is in the project already.")
        if are_in_the_way(layers[0], found.axes):
            layers = self._part(layers[0], found.axes, found.samples)
            if (id_ := self.id_of(layers[0])) is not None:
                # closed until now: it was found by its channels
                self._last = id_
                self.current_changed.emit()
                return self._store.project.image(id_)
            own_axes = None if axes is None else axes.replace("c", "")
            found = self._interpreted(layers, own_axes, level)
        mark = fingerprint_of(layers, found.axes, level)
        known = [
            i
            for i in self._store.project.images
            if i.fingerprint == mark and not self.layers(i.id)
        ]
        image = known[0] if known else describe(layers, found, level, mark)
        self._attach(image.id, layers)
        if not known:
            self._store.update(self._store.project.with_image(image))
            if found.doubtful and axes is None:
                text = " ".join((found.summary, *found.notes, _ADVICE))
                self.message.emit("info", f"{image.name}: {text}")
        self._last = image.id
        self.attached.emit(image.id)
        self.changed.emit()
        self.current_changed.emit()
        return image

    def part_channels(self, layers: Sequence[Layer]) -> None:
        """Part layers whose channels are in the way of closed images; see `add`."""
        for layer in layers:
            if not any(layer is one for one in self.candidates()):
                continue
            if (known := self._whole(layer)) is not None:
                self._part(layer, known.axes, known.samples)
                continue
            with suppress(ValueError):
                found = self._interpreted([layer], None, 0)
                if are_in_the_way(layer, found.axes):
                    self._part(layer, found.axes, found.samples)

    def interpret(
        self, layer: Layer, axes: str | None = None, level: int = 0
    ) -> Interpretation | None:
        """Find out what the axes of a layer are; None while its file is being read.

        ValueError as in `interpretation.interpret`.
        """
        file = self.files.metadata(layer)
        if file is None:
            return None
        return interpretation.interpret(layer, file, axes, level)

    def channels_of(self, layer: Layer) -> int:
        """Return how many channels a layer would have; 0 if not known yet."""
        try:
            found = self.interpret(layer) if is_image(layer) else None
        except ValueError:
            return 0
        if found is None:
            return 0
        return found.samples or axis_sizes(found.axes, roles.level_shape(layer))["c"]

    def is_ambiguous(self, layer: Layer) -> bool:
        """Whether an axis may be colours, slices or channels: that has to be asked."""
        file = self.files.metadata(layer)
        return file is not None and interpretation.is_ambiguous(layer, file)

    def candidates(self) -> list[Layer]:
        """Image layers that are not in the project and not a result of ours."""
        return [
            layer
            for layer in self._viewer.layers
            if is_image(layer)
            and roles.role_of(layer) is None
            and self.id_of(layer) is None
        ]

    def remove(self, id_: str) -> None:
        """Remove an image from the project; its layer and annotation file stay."""
        name = self._store.project.image(id_).name
        self._store.update(self._store.project.without_image(id_), f"remove {name}")

    def set_use_for_training(self, id_: str, used: bool) -> None:
        """Use an image for training, or not."""
        self._store.change_image(id_, use_for_training=used)

    def opened(self) -> list[ProjectImage]:
        """Return the images of the project that the viewer shows."""
        return [i for i in self._store.project.images if self.layers(i.id)]

    @property
    def current(self) -> ProjectImage | None:
        """The image of the active layer, else the last one used."""
        ids = self._store.project.ids
        active = self._viewer.layers.selection.active
        id_ = self.id_of(active) if active is not None else None
        for known in (id_, self._last, *ids[-1:]):
            if known in ids:
                return self._store.project.image(known)
        return None

    def of_current(self, by_id: Mapping[str, _Value]) -> _Value | None:
        """Return what there is of the current image, by the ids of images."""
        image = self.current
        return None if image is None else by_id.get(image.id)

    def is_active(self, layer: Layer) -> bool:
        """Whether a layer is the one that napari's mouse and keys go to."""
        return layer is self._viewer.layers.selection.active

    def set_current(self, id_: str) -> None:
        """Make an image the current one: it is seen, its annotation layer active."""
        self._store.project.image(id_)
        self._last = id_
        self._isolation.turn_to(id_)
        layer = self.annotation_layer(id_) or next(iter(self.layers(id_)), None)
        if layer is not None:
            self._viewer.layers.selection.active = layer
        self.current_changed.emit()

    def show_all(self) -> None:
        """Show all images that were hidden because the current one overlaps them."""
        self._isolation.show_all()

    def id_of(self, layer: Layer) -> str | None:
        """Id of the image that a layer shows, or was made for; None if of none."""
        for id_ in self._layers:
            if any(layer is own for own in self.layers(id_)):
                return id_
        source = roles.noted(layer).get("source")
        return str(source) if source in self._store.project.ids else None

    def layers(self, id_: str) -> list[Layer]:
        """Layers that show the image, one for each channel; none if it is closed."""
        if id_ not in self._store.project.ids:
            return []
        own = [reference() for reference in self._layers.get(id_, ())]
        shown = [
            one for one in own if any(one is layer for layer in self._viewer.layers)
        ]
        return shown if len(shown) == len(own) else []

    def annotation_layer(self, id_: str) -> Labels | None:
        """Layer in which the image is annotated; None if it was deleted."""
        found = roles.find(self._viewer, "annotation", id_)
        return found[0] if found else None

    def reference(self, id_: str) -> ImageReference:
        """Return where the worker finds the pixels; ValueError if it is closed."""
        image = self._store.project.image(id_)
        channels = tuple(self._sharing.share(a) for a in self._arrays(image))
        # a coarser level, or one of several layers, is no image that a file holds
        path = image.sources[0].path if len(channels) == 1 and not image.level else None
        return ImageReference(
            channels,
            image.axes,
            image.spacing_um,
            image.name,
            image.samples,
            ImageFile(path) if path else None,
        )

    def share_frames(self, id_: str, times: Iterable[int] | None = None) -> Future:
        """Have the pixels of time points shared, of all unless given.

        Frames are shared whole: grey values are normalised over all of a frame.
        ValueError if the image is closed.
        """
        image = self._store.project.image(id_)
        places = None if times is None else [(t, None) for t in dict.fromkeys(times)]
        parts = [
            self._sharing.ensure(array, image.axes, places)
            for array in self._arrays(image)
        ]
        return parts[0] if len(parts) == 1 else all_of(parts, self._sharing.post)

    def annotation_reference(self, id_: str) -> AnnotationReference | None:
        """Return where the worker finds the annotation; None if there is none."""
        project = self._store.project
        image = project.image(id_)
        if not image.annotated:
            return None
        return AnnotationReference(
            self._store.annotation(id_).reference,
            image.annotation_axes,
            plain_classes(project.classes),
            dict(image.class_of),
            image.finished,
        )

    def places(self, id_: str) -> tuple[PlaneIndex, ...]:
        """Planes in which anything is annotated or marked as finished."""
        image = self._store.project.image(id_)
        if not image.annotated:
            return ()
        painted = set(self._store.annotation(id_).places)
        finished = {(part.t, part.z) for part in image.finished}
        return tuple(sorted(painted | finished))

    def place_in_view(self, id_: str) -> tuple[int, int]:
        """Time point and slice of the image that the sliders show."""
        shown = self._shown(id_)
        return (0, 0) if shown is None else roles.place_in_view(self._viewer, *shown)

    def slice_in_view(self, id_: str) -> tuple[int, int]:
        """Time point and slice that the canvas shows.

        ValueError if it shows a volume or a section through the slices: what is done to
        the slice of the sliders would not be seen.
        """
        shown = self._shown(id_)
        if shown is not None:
            axes = roles.axes_on_canvas(self._viewer, *shown[:2])
            if self._viewer.dims.ndisplay != 2:
                raise ValueError(
                    "Only slices can be edited: go back to the 2-D view "
                    f"({readable('Control-Y')})."
                )
            if set(axes) != {"y", "x"}:
                raise ValueError(
                    "Only slices can be edited, and the canvas shows "
                    f"{' and '.join(axes)}: roll its axes until it shows y and x "
                    f"({readable('Control-E')})."
                )
        return self.place_in_view(id_)

    def box_in_view(self, id_: str) -> tuple[slice, slice]:
        """Part of the plane that the canvas shows."""
        shown = self._shown(id_)
        if shown is not None:
            return roles.box_in_view(self._viewer, *shown)
        sizes = self._store.project.image(id_).sizes
        return slice(0, sizes["y"]), slice(0, sizes["x"])

    def _shown(self, id_: str) -> tuple[Layer, str, int] | None:
        """Return a layer of the image, the axes of its data, and which level counts."""
        image = self._store.project.image(id_)
        annotation = self.annotation_layer(id_)
        if annotation is not None:
            return annotation, image.annotation_axes, 0
        own = self.layers(id_)
        return (own[0], image.axes, image.level) if own else None

    def _interpreted(
        self, layers: Sequence[Layer], axes: str | None, level: int
    ) -> Interpretation:
        # a level that does not exist has no shape to interpret
        check_images(layers, level)
        file = self.files.read_now(layers[0])
        found = interpretation.interpret(layers[0], file, axes, level)
        check_channels(layers, found.axes, level)
        return found

    def _whole(self, layer: Layer) -> ProjectImage | None:
        """Return the closed image that a layer has all channels of, unparted."""
        for image in self._store.project.images:
            one = len(image.sources) == 1 and are_in_the_way(layer, image.axes)
            if self.layers(image.id) or not (one and fits(layer, image)):
                continue
            mark = fingerprint_of([layer], image.axes, image.level)
            if mark == image.fingerprint:
                return image
        return None

    def _part(self, layer: Layer, axes: str, samples: int | None) -> list[Layer]:
        known = self._whole(layer)
        if known is not None and known.axes == axes:
            # of before channels were parted
            project = self._store.project
            self._store.update(project.with_image(parted(known, layer)))
        parts = part_channels(self._viewer, layer, axes, samples)
        if len(parts) > 1:
            self.message.emit(
                "info",
                f"{layer.name}: each of its {len(parts)} channels is a layer of its "
                "own now, so that sliders move the image and what is painted on it "
                "alike.",
            )
        return parts

    def _arrays(self, image: ProjectImage) -> list[Any]:
        layers = self.layers(image.id)
        if not layers:
            raise ValueError(f"{image.name} is closed: open its file in napari again.")
        return [roles.level_data(layer, image.level) for layer in layers]

    def _attach(self, id_: str, layers: Sequence[Layer]) -> None:
        self._layers[id_] = tuple(ref(layer) for layer in layers)
        for layer in layers:
            layer.events.data.connect(self._on_data)

    def _attach_all(self, new: Sequence[Layer]) -> list[Layer]:
        """Attach closed images to layers with their pixels, whatever their names.

        Returns layers whose channels have to be parted first.
        """
        to_part: list[Layer] = []
        for image in self._store.project.images:
            if self.layers(image.id):
                continue
            channels = [layer for layer in self.candidates() if fits(layer, image)]
            if not any(layer is one for layer in channels for one in new):
                continue
            for layers in selections(channels, image):
                if fingerprint_of(layers, image.axes, image.level) != image.fingerprint:
                    continue
                if are_in_the_way(layers[0], image.axes):
                    to_part += layers
                else:
                    self._attach(image.id, layers)
                    self.attached.emit(image.id)
                    self.changed.emit()
                break
        return to_part

    def _on_inserted(self, event: Any) -> None:
        if to_part := self._attach_all([event.value]):
            # the list of layers is changing now
            self._sharing.post(partial(self.part_channels, to_part))
        self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        self.changed.emit()
        self.current_changed.emit()

    def _on_active(self, event: Any) -> None:
        layer = self._viewer.layers.selection.active
        id_ = self.id_of(layer) if layer is not None else None
        if id_ is not None:
            self._last = id_
        self.current_changed.emit()

    def _on_step(self, event: Any) -> None:
        self.place_changed.emit()

    def _on_project(self, _: object = None) -> None:
        self.changed.emit()
        self.current_changed.emit()

    def _on_data(self, event: Any) -> None:
        """Share the new pixels of a layer, or detach one with another shape."""
        layer = event.source
        id_ = self.id_of(layer)
        if id_ is None:
            return
        image = self._store.project.image(id_)
        if not fits(layer, image):
            self._layers.pop(id_)
            self.changed.emit()
            return
        for array in self._arrays(image):
            self._sharing.changed(array)
