"""Live preview: the slice in view, predicted again and again while a network trains."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.core.events import TileDone
from napari_unet.core.jobs import LIVE, PredictJob
from napari_unet.session.images.layers import role_of
from napari_unet.session.prediction.results import ResultLayers
from napari_unet.session.training.preview_region import View, round_out

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from napari.components import ViewerModel

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.messages import Failed
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.preferences import Preferences
    from napari_unet.session.worker.client import Handle, Worker

# Each run shows its previews in the same layers, with all that people set on them.
_RUN = "preview"
_ROLE = "preview-classes"
# Steps after which the weights of a run from scratch are worth a look; where steps are
# slow, as many seconds after the first step as people like to wait.
FIRST_LOOK = 20
_PATIENCE = 5.0
# Seconds from the start of one preview to the start of the next.
_PERIOD = 2.0
# Seconds between two looks at what is in view.
_GLANCE = 0.1


class LivePreview:
    """Keeps the prediction of what is in view up to date.

    Parameters
    ----------
    viewer : ViewerModel
    images : ImageList
    worker : Worker
    scratch : Path
        For the pixels of the layers.
    preferences : Preferences
    """

    changed = Signal()
    """It was switched on or off."""
    message = Signal(str, str)
    """A level and a sentence."""

    def __init__(
        self,
        viewer: ViewerModel,
        images: ImageList,
        worker: Worker,
        scratch: Path,
        preferences: Preferences,
    ) -> None:
        self._viewer = viewer
        self._images = images
        self._worker = worker
        self._scratch = scratch
        self.preferences = preferences
        self._enabled = True
        self._results: dict[str, ResultLayers] = {}
        self._classes: tuple[ClassInfo, ...] = ()
        self._ndim: Literal[2, 3] = 2
        self._channels = 1
        self._model: str | None = None
        self._steps_to_go = 0
        self._first = 0.0
        self._handle: Handle | None = None
        self._view: View | None = None
        self._begun = self._looked = float("-inf")
        self._waiting = self._closing = False
        self._deleted: set[str] = set()
        self._failure = ""
        viewer.dims.events.current_step.connect(self._on_scroll)
        viewer.layers.events.removed.connect(self._on_removed)
        images.current_changed.connect(self._on_scroll)

    @property
    def enabled(self) -> bool:
        """Whether the slice in view is predicted while training goes on."""
        return self._enabled

    def set_enabled(self, enabled: bool) -> None:
        """Switch it on or off; the layers stay."""
        if enabled == self._enabled:
            return
        self._enabled = enabled
        if enabled:
            self._begun = self._looked = float("-inf")
            self.look()
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
        """Follow a run that is about to begin.

        The layers are made now, while nothing moves yet: that takes napari a moment.

        Parameters
        ----------
        classes : tuple of ClassInfo
            Foreground classes of the network.
        ndim : {2, 3}
        channels : int
            Images with another number are not previewed.
        trained : bool
            Whether the weights are worth a look already.
        """
        self._cancel()
        if classes != self._classes:
            self._forget_results()
        self._classes = classes
        self._ndim, self._channels = ndim, channels
        self._model = LIVE
        self._view, self._failure = None, ""
        self._begun = float("-inf")
        self._steps_to_go = 1 if trained else FIRST_LOOK
        self._first = 0.0
        view = self._in_view() if self._enabled else None
        if view is not None:
            # a full disk is told with the first preview
            with suppress(OSError):
                self._results_of(view.image_id)

    def step(self) -> None:
        """A training step was done."""
        self._first = self._first or monotonic()
        self._steps_to_go -= 1
        if monotonic() - self._first >= _PATIENCE:
            self._steps_to_go = 0
        if self._failure:
            self._tell_failure()
        self.look()

    def finish(self, model: Path | None) -> None:
        """The run ended: show its model once more, and in slices looked at later."""
        self._cancel()
        self._model = str(model) if model else None
        self._view, self._failure = None, ""
        self._steps_to_go = 0
        self._begun = self._looked = float("-inf")
        self.look()

    def look(self) -> None:
        """Predict what is in view if it is time to; cheap, called often."""
        self._follow_deleted()
        if monotonic() - self._looked >= _GLANCE:
            for results in self._results.values():
                results.show_next()
            self._look(monotonic())

    def close(self) -> None:
        """Let go of the viewer; the layers keep what they show."""
        self._model = None
        self._cancel()
        self._viewer.dims.events.current_step.disconnect(self._on_scroll)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._images.current_changed.disconnect(self._on_scroll)
        self._forget_results()

    def _look(self, now: float) -> None:
        if not self._wanted():
            return
        self._looked = now
        view = self._in_view()
        if view is None:
            return
        served = self._view is not None and self._view.covers(view)
        if self._waiting or (self._running and served):
            return
        again = self._model == LIVE and now - self._begun >= _PERIOD
        if not served or again:
            self._cancel()
            self._prepare(view)

    @property
    def _running(self) -> bool:
        return self._handle is not None and self._handle.running

    def _wanted(self) -> bool:
        return self._enabled and self._model is not None and self._steps_to_go <= 0

    def _in_view(self) -> View | None:
        """Return what is in view of the current image, if the network fits it."""
        image = self._images.current
        if image is None or not self._images.layers(image.id):
            return None
        if image.channels != self._channels:
            return None
        t, z = self._images.place_in_view(image.id)
        size = dict(zip(image.axes, image.shape, strict=True))
        region = round_out(self._images.box_in_view(image.id), (size["y"], size["x"]))
        focus = tuple((s.start + s.stop) / 2 for s in region)
        if self._ndim == 2:
            return View(image.id, (t, z), region, focus)
        return View(image.id, (t, None), (slice(z, z + 1), *region), (z + 0.5, *focus))

    def _prepare(self, view: View) -> None:
        """Have the pixels copied where the worker can read them, then predict.

        The frame is wanted whole: grey values are normalised over all of it.
        """
        try:
            ready = self._images.ensure(view.image_id, ((view.place[0], None),))
        except (KeyError, ValueError):
            return  # deleted since it was looked at
        except OSError as error:
            self._on_no_pixels(str(error))
            return
        self._waiting = True
        ready.then(lambda: self._submit(view), self._on_no_pixels)

    def _submit(self, view: View) -> None:
        self._waiting = False
        if not self._wanted() or self._model is None:
            return
        try:
            image = self._images.stored(view.image_id)
            results = self._results_of(view.image_id)
        except (KeyError, ValueError):
            return  # deleted while its pixels were copied
        except OSError as error:
            self._on_no_pixels(str(error))
            return
        if results is None:
            return
        job = PredictJob(
            model=self._model,
            image=image,
            probabilities=results.files["probability"],
            classes=results.files["classes"],
            places=(view.place,),
            region=view.region,
            focus=view.focus,
            settings=self.preferences.prediction(),
            preview=True,
        )
        self._view, self._begun = view, monotonic()
        handle = self._worker.submit(job, f"Preview of {job.image.name}")
        self._handle = handle
        handle.event.connect(lambda event: self._on_event(results, event))
        handle.ended.connect(results.flush_refresh)
        handle.failed.connect(lambda failed: self._on_failed(handle, failed))

    def _on_no_pixels(self, why: str) -> None:
        self._waiting, self._model = False, None
        self.message.emit("warning", f"The live preview stopped: {why}")

    def _results_of(self, image_id: str) -> ResultLayers | None:
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
                self._scratch,
                _RUN,
                preview=True,
            )
            results.show()
        return results

    def _on_event(self, results: ResultLayers, event: object) -> None:
        if isinstance(event, TileDone) and results in self._results.values():
            results.refresh(event.t, event.z, "classes", "probability")

    def _on_failed(self, handle: Handle, failed: Failed) -> None:
        """Say why, and be quiet until the next run."""
        if handle is not self._handle:
            return
        live = self._model == LIVE
        self._model, self._failure = None, failed.sentence
        # with the last step the live network goes: that is no reason to complain
        if not live:
            self._tell_failure()

    def _tell_failure(self) -> None:
        sentence, self._failure = self._failure, ""
        self.message.emit("warning", f"The live preview stopped: {sentence}")

    def _on_scroll(self) -> None:
        now = monotonic()
        # who scrolls through a stack is not to wake the worker for each slice
        if self._viewer.layers and now - self._begun >= _GLANCE:
            self._look(now)

    def _on_removed(self, event: Any) -> None:
        """Free what is no longer shown."""
        if self._closing or role_of(event.value) != _ROLE:
            return
        for image_id, results in list(self._results.items()):
            if results.layer("classes") is None:
                del self._results[image_id]
                self._closing = True
                results.remove()
                self._closing = False
                self._deleted.add(image_id)

    def _follow_deleted(self) -> None:
        """Who deletes the preview does not want it, unless all of the image goes."""
        deleted, self._deleted = self._deleted, set()
        if any(self._images.layers(image_id) for image_id in deleted):
            self.set_enabled(False)

    def _cancel(self) -> None:
        if self._handle is not None and self._handle.running:
            self._handle.cancel()
        self._handle = None

    def _forget_results(self) -> None:
        """Free the arrays; the layers are taken over by the next results."""
        for results in self._results.values():
            results.close()
        self._results.clear()
