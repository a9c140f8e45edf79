"""Live preview: the slice in view, predicted again and again while a network trains."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.core.events import TileDone
from napari_unet.core.geometry.boxes import centre, full_box, holds, shape_of
from napari_unet.core.jobs import LIVE, PredictJob
from napari_unet.session.images.layers import noted
from napari_unet.session.prediction.results import LIVE_RUN, ResultLayers
from napari_unet.session.throttle import Throttle

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.array_reference import ImageReference
    from napari_unet.core.jobs import Place
    from napari_unet.core.messages import Failed
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle

# Steps after which a run from scratch is worth a preview; if steps are slow, seconds
# after the first step.
FIRST_LOOK = 20
_PATIENCE = 5.0
# Seconds from the start of one preview to the start of the next.
_PERIOD = 2.0
# Seconds between two checks of what is in view.
_LOOK = 0.1
# A plane with fewer pixels is predicted whole.
_SMALL = 512 * 512
# The region is made up of squares of this side, so that small moves change nothing.
_GRID = 64
# Zoomed in by this factor, a running preview of the former view is cancelled.
_MUCH_LESS = 0.25


@dataclass(frozen=True, slots=True)
class View:
    """The part of an image that is in view."""

    image_id: str
    place: Place
    region: Box  # of the plane, or of a volume one slice thick

    def covers(self, other: View) -> bool:
        """Whether a preview of this view serves for the other one, too."""
        if (self.image_id, self.place) != (other.image_id, other.place):
            return False
        area, others = prod(shape_of(self.region)), prod(shape_of(other.region))
        return holds(self.region, other.region) and others >= _MUCH_LESS * area


class LivePreview:
    """Keeps the prediction of what is in view up to date."""

    changed = Signal()
    """It was switched on or off."""

    def __init__(self, session: Session) -> None:
        self.enabled = True
        self._session, self.message = session, session.message
        self._viewer, self._images = session.viewer, session.images
        self._results: dict[str, ResultLayers] = {}
        # images in which a preview of this run was shown
        self._claimed: set[str] = set()
        self._training = False
        self._classes: tuple[ClassInfo, ...] = ()
        self._ndim: Literal[2, 3] = 2
        self._channels = 1
        self._model: str | None = None
        self._steps = self._first_look = 0
        self._patience = Throttle(_PATIENCE)
        self._handle: Handle | None = None
        self._view: View | None = None
        self._look_pace, self._scroll_pace = Throttle(_LOOK), Throttle(_LOOK)
        self._period = Throttle(_PERIOD)
        self._waiting = False
        self._deleted: set[str] = set()
        self._failure = ""
        self._viewer.dims.events.current_step.connect(self._on_scroll)
        self._viewer.layers.events.removed.connect(self._on_removed)
        self._images.current_changed.connect(self._on_scroll)

    def results_of(self, image_id: str) -> ResultLayers | None:
        """Return the preview of an image; None if there is none."""
        return self._results.get(image_id)

    def set_enabled(self, enabled: bool) -> None:
        """Switch it on or off; the layers stay."""
        if enabled == self.enabled:
            return
        self.enabled = enabled
        if enabled:
            self._claimed.clear()
            self._look_anew()
            self.predict_if_due()
        else:
            self._cancel()
        self.changed.emit()

    def begin(
        self,
        classes: tuple[ClassInfo, ...],
        *,
        ndim: Literal[2, 3],
        channels: int,
        trained: bool,
    ) -> None:
        """Connect to a run that is about to begin.

        The layer is created now, as napari takes a moment for it.

        `classes` are in the foreground; images with another number of `channels` are
        not previewed; `trained` is whether the weights are worth a look already.
        """
        self._cancel()
        if classes != self._classes:
            self._forget_results()
        self._classes = classes
        self._ndim, self._channels = ndim, channels
        self._model, self._failure = LIVE, ""
        self._training = True
        self._claimed.clear()
        self._steps, self._first_look = 0, 1 if trained else FIRST_LOOK
        self._look_anew()
        view = self._in_view() if self.enabled else None
        if view is not None:
            # a full disk is reported by the first preview
            with suppress(OSError):
                self._claim(self._results_made(view.image_id))

    def step(self) -> None:
        """A training step was done."""
        if not self._steps:
            self._patience.restart()
        self._steps += 1
        if self._failure:
            self._stop(self._failure)
        self.predict_if_due()

    def finish(self, model: Path | None) -> None:
        """The run ended: show its model once more, also in slices visited later."""
        self._cancel()
        self._training = False
        self._model, self._failure = str(model) if model else None, ""
        self._first_look = 0
        self._look_anew()
        self.predict_if_due()

    def predict_if_due(self) -> None:
        """Predict what is in view if it is time to; cheap, called often."""
        # a deleted preview is not made again, unless the whole image was removed
        deleted, self._deleted = self._deleted, set()
        if any(self._images.layers(image_id) for image_id in deleted):
            self.set_enabled(False)
        if self._look_pace.due:
            for results in self._results.values():
                results.show_next()
            self._look()

    def close(self) -> None:
        """Disconnect from the viewer; the layers keep their content."""
        self._model = None
        self._cancel()
        self._viewer.dims.events.current_step.disconnect(self._on_scroll)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._images.current_changed.disconnect(self._on_scroll)
        self._forget_results()

    def _look_anew(self) -> None:
        """Predict the view with the next check, whatever was predicted before."""
        self._view = None
        self._look_pace, self._period = Throttle(_LOOK), Throttle(_PERIOD)

    def _look(self) -> None:
        if not self._wanted():
            return
        self._look_pace.restart()
        view = self._in_view()
        if view is None:
            return
        running = self._handle is not None and self._handle.running
        served = self._view is not None and self._view.covers(view)
        if self._waiting or (running and served):
            return
        again = self._model == LIVE and self._period.due
        if not served or again:
            self._cancel()
            self._waiting = True
            pixels = self._images.share_frames(view.image_id, [view.place[0]])
            pixels.then(lambda: self._submit(view), self._stop)

    def _wanted(self) -> bool:
        if not self.enabled or self._model is None:
            return False
        waited = self._steps > 0 and self._patience.due
        return waited or self._steps >= self._first_look

    def _in_view(self) -> View | None:
        """Return what is in view of the current image, if the network fits it."""
        image = self._images.current
        if image is None or not self._images.layers(image.id):
            return None
        if image.channels != self._channels:
            return None
        t, z = self._images.place_in_view(image.id)
        shape = image.sizes["y"], image.sizes["x"]
        region = round_out(self._images.box_in_view(image.id), shape)
        if self._ndim == 2:
            return View(image.id, (t, z), region)
        return View(image.id, (t, None), (slice(z, z + 1), *region))

    def _submit(self, view: View) -> None:
        try:
            found = self._image_and_results(view.image_id)
        finally:
            # not before: adding layers emits the same events as scrolling
            self._waiting = False
        if found is None or self._model is None:
            return
        image, results = found
        job = PredictJob(
            model=self._model,
            image=image,
            probabilities=results.files["probability"],
            classes=results.files["classes"],
            entropy=results.files["entropy"] if results.shows("entropy") else None,
            places=(view.place,),
            region=view.region,
            focus=centre(view.region),
            settings=self._session.preferences.prediction(),
            preview=True,
        )
        self._view = view
        self._period.restart()
        self._scroll_pace.restart()
        handle = self._session.worker.submit(job)
        self._handle = handle
        handle.event.connect(lambda event: self._on_event(results, event))
        handle.ended.connect(results.flush_refresh)
        handle.failed.connect(lambda failed: self._on_failed(handle, failed))

    def _image_and_results(
        self, image_id: str
    ) -> tuple[ImageReference, ResultLayers] | None:
        if not self._wanted():
            return None
        try:
            image = self._images.reference(image_id)
            results = self._results_made(image_id)
        except (KeyError, ValueError):
            return None  # deleted while its pixels were copied
        except OSError as error:
            self._stop(str(error))
            return None
        self._claim(results)
        return None if results is None else (image, results)

    def _stop(self, why: str) -> None:
        """Stop previews until the next run, and report why."""
        self._waiting, self._model, self._failure = False, None, ""
        self.message.emit("warning", f"The live preview stopped: {why}")

    def _results_made(self, image_id: str) -> ResultLayers | None:
        """Return the layers of an image, made when first needed."""
        results = self._results.get(image_id)
        image = self._images.current
        layers = self._images.layers(image_id)
        if results is None and image is not None and image.id == image_id and layers:
            results = self._results[image_id] = ResultLayers(
                self._viewer,
                layers[0],
                image,
                self._classes,
                self._session.scratch,
                LIVE_RUN,
            )
        return results

    def _claim(self, results: ResultLayers | None) -> None:
        """Show the preview once in each image: later predictions have precedence.

        After the training, it is shown only where nothing else is.
        """
        if results is None or results.image.id in self._claimed:
            return
        if self._training or results.cells_layer.layer is None:
            self._claimed.add(results.image.id)
            results.claim()

    def _on_event(self, results: ResultLayers, event: object) -> None:
        if isinstance(event, TileDone) and results in self._results.values():
            results.refresh(event.t, event.z, "classes", "probability", "entropy")

    def _on_failed(self, handle: Handle, failed: Failed) -> None:
        if handle is not self._handle:
            return
        if self._model == LIVE:
            # the live network goes with the last step: that is no failure, unless
            # another step follows
            self._model, self._failure = None, failed.sentence
        else:
            self._stop(failed.sentence)

    def _on_scroll(self) -> None:
        # scrolling through a stack must not wake the worker for each slice
        if self._viewer.layers and self._scroll_pace.due:
            self._look()

    def _on_removed(self, event: Any) -> None:
        """Free what is no longer shown."""
        gone = noted(event.value)
        if (gone.get("role"), gone.get("run")) == ("cells", LIVE_RUN):
            results = self._results.pop(gone["source"], None)
            if results is not None:
                results.remove()
                self._deleted.add(results.image.id)

    def _cancel(self) -> None:
        if self._handle is not None and self._handle.running:
            self._handle.cancel()
        self._handle = None

    def _forget_results(self) -> None:
        """Free the arrays; the layers are taken over by the next results."""
        for results in self._results.values():
            results.close()
        self._results.clear()


def round_out(box: Box, shape: tuple[int, ...]) -> Box:
    """Return a box enlarged to a coarse grid; all of a small plane.

    The box is in pixels of a plane of this shape, and may reach out of it.

    Returns
    -------
    tuple of slice
        Inside the plane, never empty.
    """
    if prod(shape) <= _SMALL:
        return full_box(shape)
    rounded = []
    for part, n in zip(box, shape, strict=True):
        start = min(max(part.start, 0), n - 1) // _GRID * _GRID
        stop = -(-max(part.stop, start + 1) // _GRID) * _GRID
        rounded.append(slice(start, min(stop, n)))
    return tuple(rounded)
