"""The border weights of the slice in view, kept up to date while painting.

A stroke changes only nearby weights: these are computed here, at once. A whole plane
(another slice, other settings or classes) is computed by the worker.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.core.geometry.boxes import shape_of, union
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.overlay.plane_weights import PlaneWeights
from napari_unet.session.overlay.weight_layer import WeightLayer
from napari_unet.session.overlay.weighted_plane import WeightedPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.settings import BorderWeights
    from napari_unet.io.project_record import Project
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.session import Session

# Pixels whose weights are computed in napari's process: about 15 ms of work.
_AT_ONCE = 512 * 512


class WeightOverlay:
    """Border weights over the current image, where they are switched on."""

    enabled_changed = Signal(bool)
    """Switched on or off, also by hiding, showing or deleting the layer by hand."""

    def __init__(self, session: Session) -> None:
        self._viewer, self._store = session.viewer, session.store
        self._images, self._annotating = session.images, session.annotating
        self._worker = session.worker
        self._enabled = False
        self._quiet = False
        self._settings: BorderWeights = self._store.project.overlay
        self._kept = self._settings
        self._layers: dict[str, WeightLayer] = {}
        self._plane: WeightedPlane | None = None
        self._jobs = PlaneWeights(session.worker, session.scratch)
        # Edits that the running job may not have seen.
        self._edited_since: list[Box] = []
        self._compiler = _Compiler()
        for signal, slot in self._connections():
            signal.connect(slot)
        forward_signal(self._jobs.failed, session.message, "warning")

    @property
    def enabled(self) -> bool:
        """Whether the weights are shown."""
        return self._enabled

    def set_enabled(self, enabled: bool) -> None:
        """Show the weights, or hide them and compute nothing."""
        if enabled == self._enabled:
            return
        self._enabled = enabled
        if enabled:
            self._worker.warm_up("cpu")
        self._follow()
        self.enabled_changed.emit(enabled)

    def drop(self) -> None:
        """Switch off, and remove the layers."""
        # the first one that goes switches off: none is hidden before
        for shown in self._layers.values():
            if (layer := shown.layer) is not None:
                self._viewer.layers.remove(layer)
        self.set_enabled(False)

    @property
    def settings(self) -> BorderWeights:
        """How borders are weighted here; training has its own settings."""
        return self._settings

    def set_settings(self, settings: BorderWeights) -> None:
        """Change how borders are weighted; the project remembers it."""
        self._settings = settings
        self._follow()
        if not self._jobs.busy:
            self._keep_settings()

    def close(self) -> None:
        """Stop following; the layers stay as they are."""
        self._keep_settings()
        for signal, slot in self._connections():
            signal.disconnect(slot)
        for shown in self._layers.values():
            if shown.layer is not None:
                shown.layer.events.visible.disconnect(self._on_visible)
        self._jobs.close()
        self._plane, self._enabled = None, False

    def _connections(self) -> Iterator[tuple[Any, Callable[..., None]]]:
        """Yield the signals that are followed, each with its slot."""
        yield self._viewer.dims.events.point, self._follow
        yield self._viewer.layers.events.removed, self._follow
        yield self._images.changed, self._follow
        yield self._images.current_changed, self._follow
        yield self._store.changed, self._on_project
        yield self._store.replaced, self._on_replaced
        yield self._annotating.edited, self._on_edited
        yield self._jobs.computed, self._on_computed
        yield self._jobs.idle, self._keep_settings

    def _on_project(self, project: Project) -> None:
        if project.overlay != self._kept:
            self._settings = self._kept = project.overlay
        self._follow()

    def _on_replaced(self, image_id: str) -> None:
        if self._plane is not None and self._plane.image_id == image_id:
            self._request(self._plane)

    def _on_visible(self, event: Any) -> None:
        """Hiding or showing the layer by hand switches the weights off or on."""
        if self._quiet:
            return
        layer = event.source
        shown = self._layers.get(self._plane.image_id) if self._plane else None
        if layer.visible or (shown is not None and shown.layer is layer):
            self.set_enabled(bool(layer.visible))

    def _on_edited(self, image_id: str, edit: Edit) -> None:
        plane = self._plane
        if plane is None or plane.place != (image_id, edit.t, edit.z):
            return
        if self._jobs.busy:
            self._edited_since.append(edit.box)
        self._update(plane, [edit.box])

    def _on_computed(self, computed: WeightedPlane, weights: NDArray[Any]) -> None:
        """Show the weights of a plane, unless another slice is in view."""
        # The worker has cached its compiled code on disk, so loading is fast from now
        # on.
        self._compiler.start()
        plane = self._plane
        if plane is None or plane.place != computed.place:
            return
        self._layers[plane.image_id].write(weights)
        if self._edited_since and not self._jobs.waiting:
            self._update(plane, self._edited_since)

    def _follow(self, _: object = None) -> None:
        """Show the weights of the plane in view, with the present settings."""
        before = self._plane
        if before is not None and self._layers[before.image_id].layer is None:
            # Someone deleted it.
            self._plane = None
            self._jobs.cancel()
            self.set_enabled(False)
            return
        self._plane = plane = self._plane_in_view() if self._enabled else None
        if plane == before:
            return
        for image_id, shown in self._layers.items():
            if plane is None or image_id != plane.image_id:
                with self._silence():
                    shown.hide()
        if plane is None:
            self._jobs.cancel()
            return
        self._show(plane)
        if before is None or before.place != plane.place:
            # Weights of another slice would be wrong.
            self._layers[plane.image_id].clear()
            self._request(plane)
        elif not before.weighs_like(
            plane, self._store.annotation(plane.image_id).highest
        ):
            self._request(plane)

    def _plane_in_view(self) -> WeightedPlane | None:
        """Return the plane in view of the current image; None without annotation."""
        image = self._images.current
        if (
            image is None
            or not image.annotated
            or self._images.annotation_layer(image.id) is None
        ):
            return None
        place = self._images.place_in_view(image.id)
        return WeightedPlane.of(self._store.project, image, place, self._settings)

    def _show(self, plane: WeightedPlane) -> None:
        """Make the layer of a plane visible."""
        image = self._store.project.image(plane.image_id)
        like = self._images.annotation_layer(plane.image_id)
        shape = image.annotation_shape[-2:]
        shown = self._layers.get(plane.image_id)
        if shown is None or shown.array.shape != shape:
            shown = self._layers[image.id] = WeightLayer(self._viewer, image)
        if like is not None:
            with self._silence():
                layer = shown.show(like, plane.settings)
            layer.events.visible.connect(self._on_visible)

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Change layers without counting it as done by hand."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _update(self, plane: WeightedPlane, edited: Sequence[Box]) -> None:
        """Compute the changes of edits: here if they are small, else in the worker."""
        if not self._compiler.ready:
            self._request(plane)
            return
        # Only here, because it loads a compiler; by now it is loaded.
        from napari_unet.session.overlay import box_weights

        labels = self._store.annotation(plane.image_id).plane(plane.t, plane.z)
        box = box_weights.affected(
            union(*edited), labels.shape, plane.settings, plane.spacing
        )
        if prod(shape_of(box)) > _AT_ONCE:
            self._request(plane)
            return
        weights = box_weights.weights_in(
            box,
            labels,
            plane.settings,
            plane.spacing,
            plane.classes,
            plane.class_of,
            plane.finished,
        )
        self._layers[plane.image_id].write(weights, box)

    def _request(self, plane: WeightedPlane) -> None:
        """Request the whole plane from the worker."""
        annotation = self._images.annotation_reference(plane.image_id)
        shown = self._layers[plane.image_id]
        if annotation is None:
            return
        self._edited_since.clear()
        if self._store.annotation(plane.image_id).has(plane.t, plane.z):
            self._jobs.request(plane, annotation, shown.array.shape)
        else:
            # Without a cell there is no border.
            self._jobs.cancel()
            shown.clear()

    def _keep_settings(self) -> None:
        """Save the settings in the project, once a slider has stopped."""
        if self._settings != self._kept:
            self._kept = self._settings
            project = self._store.project
            self._store.update(project.replace(overlay=self._settings))


class _Compiler:
    """Imports what computes the boxes, in a thread, so that nothing waits for it."""

    def __init__(self) -> None:
        self._loaded = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        return self._loaded.is_set()

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._load, name="napari-unet weights", daemon=True
            )
            self._thread.start()

    def _load(self) -> None:
        from napari_unet.session.overlay import box_weights

        box_weights.warm_up()
        self._loaded.set()
