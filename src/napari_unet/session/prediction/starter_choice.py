"""The choice of a model of the package for each image, by the worker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import StarterChosen
from napari_unet.core.geometry.boxes import centre
from napari_unet.core.jobs import ChooseStarterJob
from napari_unet.io.pretrained import starter_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.messages import Failed
    from napari_unet.core.starters import Choice
    from napari_unet.session.models import ModelList
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle


class StarterChoice:
    """Has the models of the package tried on images, once on each."""

    changed = Signal()
    """A search for a model began or ended, or found one for an image."""

    def __init__(self, session: Session, models: ModelList) -> None:
        self._session, self._images, self._models = session, session.images, models
        self._choices: dict[str, Choice] = {}
        self._image = ""  # the image that is tried now
        self._handle: Handle | None = None
        # called after the choice, if anything waits for it
        self._then: Callable[[], object] | None = None
        self._images.current_changed.connect(self._propose)
        models.selected_changed.connect(self._propose)

    @property
    def waiting(self) -> bool:
        """Whether a prediction waits for the choice."""
        return self._then is not None

    @property
    def running(self) -> bool:
        """Whether models are being tried."""
        return bool(self._image)

    def knows(self, image_id: str) -> bool:
        """Whether an image was tried, or is being tried."""
        return image_id in self._choices or image_id == self._image

    def find(self, image_id: str, then: Callable[[], object] | None = None) -> None:
        """Try the models on an image; `then` is called when one is chosen."""
        if image_id in self._choices:
            self._propose()
            if then is not None:
                then()
            return
        self._then = then or self._then
        if self._image:
            return
        self._image = image_id
        try:
            t, z = self._images.place_in_view(image_id)
            pixels = self._images.share_frames(image_id, [t])
        except (ValueError, KeyError) as error:
            self._fail(str(error))
            return
        self.changed.emit()
        pixels.then(partial(self._submit, image_id, (t, z)), self._fail)

    def cancel(self) -> None:
        """Stop, and drop what waits for the choice."""
        self._then = None
        if self._handle is not None:
            self._handle.cancel()
        elif self._image:
            self._end()

    def chosen(self) -> Choice | None:
        """Return why the model was chosen for the image in view; None if it was not."""
        if not self._models.automatic:
            return None
        return self._images.of_current(self._choices)

    def doubt(self) -> str:
        """Return why the model may not suit the image in view; empty if it may."""
        choice = self._images.of_current(self._choices)
        path = self._models.selected
        starter = starter_of(path) if path is not None else None
        return (
            "" if choice is None or starter is None else choice.doubt_of(starter.name)
        )

    def close(self) -> None:
        """Disconnect from images and models."""
        self.cancel()
        self._images.current_changed.disconnect(self._propose)
        self._models.selected_changed.disconnect(self._propose)

    def _propose(self, *_: object) -> None:
        """Select the model of the image in view."""
        choice = self._images.of_current(self._choices)
        self._models.propose(None if choice is None else choice.name)

    def _submit(self, image_id: str, place: tuple[int, int]) -> None:
        if image_id != self._image:
            return  # cancelled while its pixels were copied
        try:
            image = self._images.reference(image_id)
            box = self._images.box_in_view(image_id)
        except (ValueError, KeyError) as error:
            self._fail(str(error))
            return
        settings = self._session.preferences.prediction()
        job = ChooseStarterJob(image, place, centre(box), settings)
        handle = self._session.worker.submit(job)
        self._handle = handle
        handle.event.connect(partial(self._on_event, image_id))
        handle.ended.connect(partial(self._on_ended, image_id))
        handle.failed.connect(self._on_failed)

    def _on_event(self, image_id: str, event: object) -> None:
        if isinstance(event, StarterChosen):
            self._choices[image_id] = event.choice

    def _on_ended(self, image_id: str, _cancelled: bool) -> None:
        then = self._end()
        self._propose()
        if then is not None and image_id in self._choices:
            then()

    def _on_failed(self, failed: Failed) -> None:
        self._fail(failed.sentence)

    def _fail(self, sentence: str) -> None:
        if self._end() is not None:
            self._session.message.emit("error", sentence)

    def _end(self) -> Callable[[], object] | None:
        then, self._then = self._then, None
        self._image, self._handle = "", None
        self.changed.emit()
        return then
