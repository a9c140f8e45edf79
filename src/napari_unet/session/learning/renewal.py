"""What is in view of a predicted image, kept up to date with a model that learns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.geometry.boxes import centre, full_box, holds
from napari_unet.session.prediction.targets import Resampling, Target
from napari_unet.session.training.preview import View, round_out

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_unet.core.jobs import Place
    from napari_unet.session.models import ModelList
    from napari_unet.session.prediction.control import PredictionControl
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle


class Renewal:
    """Predicts again what is in view where the model has learnt since.

    What is not in view stays as it was predicted until it is seen.
    """

    changed = Signal()
    """It began or ended."""

    def __init__(
        self, session: Session, models: ModelList, prediction: PredictionControl
    ) -> None:
        self._viewer, self._images = session.viewer, session.images
        self._models, self._prediction = models, prediction
        # what was brought up to date of planes that were not as a whole
        self._views: dict[tuple[str, Place], tuple[float, View]] = {}
        self._view: View | None = None
        self._handle: Handle | None = None
        self._waiting = False
        self._viewer.dims.events.current_step.connect(self._on_scroll)

    @property
    def running(self) -> bool:
        """Whether something is being predicted again."""
        return self._waiting or self._handle is not None

    @property
    def older(self) -> int:
        """Number of planes or volumes out of view predicted by an earlier state."""
        seen = self._in_view()
        count = 0
        for image_id, results in self._prediction.results.items():
            if self._of_model(results):
                here = None if seen is None else (seen.image_id, seen.place)
                count += sum((image_id, p) != here for p in results.older())
        return count

    def predicted(self, image_id: str) -> Collection[Place]:
        """Return the planes or volumes of an image that the model in use predicted."""
        results = self._prediction.results.get(image_id)
        return results.made if results is not None and self._of_model(results) else ()

    def look(self) -> None:
        """Predict what is in view again if it is older; cheap, called often."""
        view = self._in_view()
        if view is None or self._waiting:
            return
        if self._handle is not None:
            if self._view is None or self._view.covers(view):
                return
            self.stop()
        results = self._prediction.results.get(view.image_id)
        if results is None or view.place not in results.older():
            return
        written, done = self._views.get((view.image_id, view.place), (0.0, view))
        if written == self._written and holds(done.region, view.region):
            return
        self._view, self._waiting = view, True
        pixels = self._images.share_frames(view.image_id, [view.place[0]])
        pixels.then(partial(self._submit, view), self._give_up)
        self.changed.emit()

    def stop(self) -> None:
        """Cancel the prediction: its model is out of date, or the view has changed."""
        handle, self._handle = self._handle, None
        if handle is not None and handle.running:
            handle.cancel()

    def close(self) -> None:
        """Stop following the viewer."""
        self.stop()
        self._viewer.dims.events.current_step.disconnect(self._on_scroll)

    @property
    def _written(self) -> float:
        """When the model in use was written."""
        entry = self._models.entry
        return 0.0 if entry is None else entry.written

    def _of_model(self, results: ResultLayers) -> bool:
        return results.run == str(self._models.selected)

    def _in_view(self) -> View | None:
        """Return what is in view of a plane or volume that was predicted."""
        image = self._images.current
        if image is None or not self._images.layers(image.id):
            return None
        results = self._prediction.results.get(image.id)
        if results is None or not self._of_model(results):
            return None
        t, z = self._images.place_in_view(image.id)
        box = round_out(
            self._images.box_in_view(image.id), (image.sizes["y"], image.sizes["x"])
        )
        if results.cells.ndim == 2:
            return View(image.id, (t, z), box)
        return View(image.id, (t, None), (slice(0, image.sizes["z"]), *box))

    def _submit(self, view: View) -> None:
        self._waiting = False
        image = self._images.current
        results = self._prediction.results.get(view.image_id)
        card = self._models.card
        if image is None or results is None or card is None:
            return
        if image.id != view.image_id or not self._of_model(results):
            return
        sizes = [image.sizes[a] for a in "zyx"][-len(view.region) :]
        region = None if view.region == full_box(sizes) else view.region
        target = Target(
            image, (view.place,), region, centre(view.region), Resampling(card, image)
        )
        handle = self._prediction.renew(results, target)
        self._handle = handle
        if handle is None:
            return
        written = self._written
        handle.ended.connect(partial(self._on_ended, handle, view, written))
        handle.failed.connect(partial(self._on_failed, handle))

    def _on_ended(
        self, handle: Handle, view: View, written: float, cancelled: bool
    ) -> None:
        if not cancelled:
            self._views[view.image_id, view.place] = written, view
        if handle is self._handle:
            self._handle = None
            self.look()
        self.changed.emit()

    def _on_failed(self, handle: Handle, _failed: object) -> None:
        if handle is self._handle:
            self._handle = None
            # not at once again: it would fail again
            if self._view is not None:
                key = self._view.image_id, self._view.place
                self._views[key] = self._written, self._view
        self.changed.emit()

    def _give_up(self, _why: str) -> None:
        self._waiting = False
        self.changed.emit()

    def _on_scroll(self) -> None:
        self.changed.emit()
