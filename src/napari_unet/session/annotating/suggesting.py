"""Where to annotate next: asked of the worker, and gone to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_unet.core.events import TileSeen, TilesSuggested
from napari_unet.core.geometry.boxes import centre, shape_of
from napari_unet.core.jobs import SuggestJob
from napari_unet.core.suggestions.sampling import sample_frames
from napari_unet.core.text import counted, place_words
from napari_unet.session.future import all_of
from napari_unet.session.images import layers as roles
from napari_unet.session.images.frames import show_frames

if TYPE_CHECKING:
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.messages import Failed
    from napari_unet.core.suggestions.reasons import Suggestion
    from napari_unet.core.suggestions.sampling import TilePlace
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.models import ModelEntry, ModelList
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle

FRAME_COLOUR = "#ff9900"

# Of the canvas, that a tile takes.
_SHARE = 0.6


class Suggesting:
    """Looks for tiles to annotate in all open images, and shows them.

    `suggestions` are the last that were found, `sentence` says of what; `progress` is
    the share of a search under way that is done, 0 to 1.
    """

    changed = Signal()
    """A search began, made progress or ended, or there are other suggestions."""

    def __init__(self, session: Session, models: ModelList) -> None:
        self._session, self._models = session, models
        self._viewer, self._store = session.viewer, session.store
        self._images, self._annotating = session.images, session.annotating
        self._message = session.message
        self._handle: Handle | None = None
        # ids of the images of the suggestions, and of the search under way
        self._ids: tuple[str, ...] = ()
        self._asked: tuple[str, ...] | None = None
        self._left_out = ""
        self.progress = 0.0
        self.suggestions: tuple[Suggestion, ...] = ()
        self.sentence = ""

    @property
    def running(self) -> bool:
        """Whether a search is under way."""
        return self._asked is not None

    def start(self) -> None:
        """Look anew through all open images; ValueError if none is open."""
        self.cancel()
        images, model = self._chosen()
        self._asked, self.progress = tuple(image.id for image in images), 0.0
        frames = sample_frames([image.sizes["t"] for image in images])
        pixels = [
            self._images.share_frames(image.id, times)
            for image, times in zip(images, frames, strict=True)
        ]
        asked = self._asked
        all_of(pixels, self._session.post).then(
            partial(self._submit, asked, frames, model), partial(self._fail, asked)
        )
        self.changed.emit()

    def cancel(self) -> None:
        """Give up a search that is under way; what was found before stays."""
        self._asked = None
        if self._handle is not None:
            self._handle.abandon()
            self._handle = None
        self.changed.emit()

    def close(self) -> None:
        """Stop."""
        self.cancel()

    def name_of(self, suggestion: Suggestion) -> str:
        """Return the name of the image of a suggestion, and its slice if it has any."""
        place = suggestion.place
        image = self._image_of(suggestion)
        where = place_words(image.axes, place.t, place.z)
        return ", ".join([image.name, *where])

    def go_to(self, suggestion: Suggestion) -> None:
        """Show a tile, large, with a frame; ValueError if its image is gone."""
        place, image = suggestion.place, self._image_of(suggestion)
        y, x = centre(place.box)
        self._annotating.layers.show(image.id)
        self._frame(image, place)
        self._zoom(image, place.box)
        self._annotating.go_to(image.id, place.t, place.z, (y, x))

    def _chosen(self) -> tuple[list[ProjectImage], ModelEntry | None]:
        """Return what is looked at, and the model that is asked.

        A model of the package that nobody has used yet is not: it may be for images of
        another kind, and would be unsure of everything.
        """
        opened = self._images.opened()
        current = self._images.current
        if not opened or current is None:
            raise ValueError("Open an image first.")
        model = self._models.entry
        known = (*(e.path for e in self._models.own), self._models.used_last)
        if model is not None and model.path not in known:
            model = None
        first = current if current in opened else opened[0]
        if model is not None and model.card.architecture.channels != first.channels:
            model = None
        alike = [i for i in opened if i.channels == first.channels]
        others = len(opened) - len(alike)
        self._left_out = (
            f" Left out: {counted(others, 'image')} with other channels." * bool(others)
        )
        return alike, model

    def _submit(
        self,
        asked: tuple[str, ...],
        frames: tuple[tuple[int, ...], ...],
        model: ModelEntry | None,
    ) -> None:
        if asked is not self._asked:
            return
        try:
            job = SuggestJob(
                images=tuple(self._images.reference(id_) for id_ in asked),
                frames=frames,
                annotations=tuple(
                    self._images.annotation_reference(id_) for id_ in asked
                ),
                places=tuple(self._images.places(id_) for id_ in asked),
                model=str(model.path) if model is not None else None,
                settings=self._session.preferences.prediction(),
            )
        except (OSError, ValueError, KeyError) as error:
            self._fail(asked, str(error))
            return
        handle = self._handle = self._session.worker.submit(job)
        handle.event.connect(self._on_event)
        handle.ended.connect(self._on_end)
        handle.failed.connect(self._on_failed)

    def _on_event(self, event: object) -> None:
        if isinstance(event, TileSeen):
            self.progress = event.progress
        elif isinstance(event, TilesSuggested) and self._asked is not None:
            self._ids, self.suggestions = self._asked, event.suggestions
            self.sentence = event.sentence + self._left_out
        self.changed.emit()

    def _on_end(self, _: object) -> None:
        self._handle = self._asked = None
        self.changed.emit()

    def _on_failed(self, failed: Failed) -> None:
        self._on_end(failed)
        self._message.emit("warning", f"No tile could be suggested: {failed.sentence}")

    def _fail(self, asked: tuple[str, ...], sentence: str) -> None:
        if asked is self._asked:
            self._asked = None
            self._message.emit("warning", f"No tile could be suggested: {sentence}")
            self.changed.emit()

    def _image_of(self, suggestion: Suggestion) -> ProjectImage:
        image_id = self._ids[suggestion.place.image]
        if image_id not in self._store.project.ids:
            raise ValueError("This image is no longer in the project.")
        return self._store.project.image(image_id)

    def _frame(self, image: ProjectImage, place: TilePlace) -> None:
        """Draw a frame around a tile; there is one in an image at a time."""
        y, x = place.box
        show_frames(
            self._viewer,
            image,
            self._images.annotation_layer(image.id),
            "suggested",
            "Suggested",
            [(place.t, place.z, ((y.start, y.stop), (x.start, x.stop)))],
            FRAME_COLOUR,
        )
        for layer in roles.find(self._viewer, "suggested", image.id):
            roles.set_visible(layer)

    def _zoom(self, image: ProjectImage, box: Box) -> None:
        """Let a tile take most of the canvas, however large that is."""
        layer = self._images.annotation_layer(image.id)
        if layer is None or self._viewer.dims.ndisplay != 2:
            return
        # what is seen whole now tells how large the canvas is
        self._viewer.reset_view()
        extent = np.ptp(self._viewer.layers.extent.world, axis=0)
        shown = [extent[axis] for axis in self._viewer.dims.displayed]
        axes = image.annotation_axes
        tile = [
            float(layer.scale[axes.index(axis)]) * n
            for axis, n in zip("yx", shape_of(box), strict=True)
        ]
        larger = min(a / b for a, b in zip(shown, tile, strict=True))
        camera = getattr(self._viewer, "scene", self._viewer).camera
        camera.zoom *= max(_SHARE * larger, 1.0)
