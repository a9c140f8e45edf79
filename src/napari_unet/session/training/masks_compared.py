"""The cells that two models find in the slice in view."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import MasksCompared
from napari_unet.core.geometry.boxes import centre, common, square
from napari_unet.core.jobs import CompareMasksJob

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.messages import Failed
    from napari_unet.core.settings import Prediction
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.worker.client import Handle, Worker

# Of a larger view, its middle: more pixels than that have no room side by side.
_SIDE = 512


class ComparedMasks:
    """Has the worker predict the slice in view with two models.

    `found` is the result; until it is there, `sentence` says why not.
    """

    changed = Signal()

    def __init__(
        self,
        images: ImageList,
        worker: Worker,
        settings: Prediction,
        models: tuple[Path, Path],
    ) -> None:
        self.found: MasksCompared | None = None
        self.sentence = "Open an image to see the masks of both."
        self._images, self._worker = images, worker
        self._settings, self._models = settings, models
        self._handle: Handle | None = None
        self._closed = False
        image = images.current
        if image is None or not images.layers(image.id):
            return
        self.sentence = f"Both models predict the slice of {image.name} in view …"
        t, z = images.place_in_view(image.id)
        try:
            pixels = images.share_frames(image.id, [t])
        except (ValueError, KeyError) as error:
            self.sentence = str(error)
            return
        pixels.then(partial(self._submit, image.id, t, z), self._fail)

    def close(self) -> None:
        """Stop: the result is not needed any more."""
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()

    def _submit(self, image_id: str, t: int, z: int) -> None:
        if self._closed:
            return
        try:
            image = self._images.reference(image_id)
            in_view = self._images.box_in_view(image_id)
        except (ValueError, KeyError) as error:
            self._fail(str(error))
            return
        inside = square(centre(in_view), _SIDE, [part.stop for part in in_view])
        box = common(inside, in_view)
        one, other = map(str, self._models)
        job = CompareMasksJob((one, other), image, t, z, box, self._settings)
        self._handle = handle = self._worker.submit(job)
        handle.event.connect(self._on_event)
        handle.failed.connect(self._on_failed)

    def _on_event(self, event: object) -> None:
        if isinstance(event, MasksCompared):
            self.found, self.sentence = event, ""
            self.changed.emit()

    def _on_failed(self, failed: Failed) -> None:
        self._fail(failed.sentence)

    def _fail(self, sentence: str) -> None:
        self.sentence = sentence
        self.changed.emit()
