"""The prediction of open images, one after the other, each into its results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import Notice, PredictionFinished, TileDone, TileHalved
from napari_unet.core.jobs import PredictJob, RemotePredictJob
from napari_unet.session.worker.client import WORKER_ENDED

if TYPE_CHECKING:
    from napari_unet.core.messages import Failed
    from napari_unet.core.remote_messages import RemoteRun
    from napari_unet.core.settings import Prediction
    from napari_unet.session.compute_place import ComputePlace
    from napari_unet.session.models import ModelEntry
    from napari_unet.session.prediction.model_results import ModelResults
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmentation import Segmenter
    from napari_unet.session.prediction.targets import Target
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle


@dataclass(slots=True, eq=False)
class ImageRun:
    """A prediction of some images; a model that is chosen later does not matter.

    The images `to_follow` are predicted after the `current` one, in their order.
    Without `handle` the pixels of the current image are still being copied. `summary`
    says how it went, in a few words.
    """

    model: ModelEntry
    settings: Prediction
    current: Target
    to_follow: list[Target]
    done: int = 0
    summary: str = ""
    handle: Handle | None = None
    # when the model was written that predicts the current image
    written: float = 0.0

    @property
    def total(self) -> int:
        """The number of images."""
        return self.done + 1 + len(self.to_follow)


class ImagePrediction:
    """Predicts open images; if one fails, the others are predicted nevertheless.

    `status` is the current or last work, in a few words; `share` that of all images
    that is done, 0 to 1.
    """

    changed = Signal()
    """It began or ended, or `status` changed."""
    progressed = Signal(float)
    """As `share`."""
    image_ended = Signal()
    """Nothing more comes of an image, whether it was predicted or not."""

    def __init__(
        self,
        session: Session,
        model_results: ModelResults,
        segmenter: Segmenter,
        place: ComputePlace,
    ) -> None:
        self._store, self._images = session.store, session.images
        self._worker, self.message = session.worker, session.message
        self._model_results, self._segmenter = model_results, segmenter
        self._place = place
        self._run: ImageRun | None = None
        self.status, self.share = "", 0.0

    @property
    def running(self) -> bool:
        """Whether images are being predicted."""
        return self._run is not None

    @property
    def image_id(self) -> str | None:
        """Id of the image that is being predicted."""
        return None if self._run is None else self._run.current.image.id

    def begin(self, run: ImageRun) -> None:
        """Predict the current image of a run, then those that follow.

        Its pixels are first copied to where the worker can read them.
        """
        self._run, self.share = run, run.done / run.total
        run.handle, run.summary = None, "Done."
        self.status = "Reading the image …"
        self.changed.emit()
        times = [t for t, _ in run.current.places]
        try:
            pixels = self._images.share_frames(run.current.image.id, times)
        except (ValueError, KeyError) as error:
            self._skip(run, str(error))
        else:
            pixels.then(partial(self._submit, run), partial(self._skip, run))

    def renew(
        self, model: ModelEntry, results: ResultLayers, target: Target
    ) -> Handle | None:
        """Predict a part of what was predicted before, as `PredictionControl.renew`."""
        if results.settings is None:
            return None
        try:
            job = self._job(model, results.settings, target, results)
        except (ValueError, KeyError) as error:
            self.message.emit("error", str(error))
            return None
        written = 0.0 if target.region is not None else model.written
        handle = self._worker.submit(job)
        handle.event.connect(partial(self._on_renewed, results, written))
        handle.ended.connect(results.flush_refresh)
        return handle

    def pass_on(self, before: ModelEntry, now: ModelEntry) -> None:
        """Go on with the file that has replaced a model."""
        if self._run is not None and self._run.model.path == before.path:
            self._run.model = now

    def cancel(self) -> None:
        """Stop at the next tile; what is done stays."""
        if self._run is None:
            return
        self._run.to_follow.clear()
        if self._run.handle is not None:
            self._run.handle.cancel()
        else:
            self._end("Cancelled.")

    def _submit(self, run: ImageRun) -> None:
        if run is not self._run:
            return  # cancelled while its pixels were copied
        target = run.current
        try:
            results = self._model_results.of(
                target.image.id, run.model, self._store.project
            )
        except (ValueError, KeyError, OSError) as error:
            self._skip(run, str(error))
            return
        remote = self._place.new_run()
        if remote is not None and target.region is not None:
            # what comes back is whole
            target = run.current = replace(target, region=None)
        try:
            job = self._job(run.model, run.settings, target, results, remote)
        except (ValueError, KeyError) as error:
            self._skip(run, str(error))
            return
        results.settings, run.written = run.settings, run.model.written
        cells, resampling = results.cells, target.resampling
        cells.ndim, cells.scale = run.model.card.training.ndim, resampling.factors
        cells.growing = True
        results.pixels = job.image
        handle = run.handle = self._worker.submit(job)
        handle.event.connect(partial(self._on_event, run, results))
        handle.ended.connect(partial(self._on_ended, run, results))
        handle.failed.connect(partial(self._on_failed, run, results))
        # the worker computes while napari makes the layer
        results.claim()
        results.visibility.growing(target.places)
        self.status = f"Predicting {job.image.name} …"
        self.changed.emit()

    def _job(
        self,
        model: ModelEntry,
        settings: Prediction,
        target: Target,
        results: ResultLayers,
        remote: RemoteRun | None = None,
    ) -> PredictJob:
        files = results.files
        if target.resampling.implausible:
            settings = settings.replace(rescale=False)
        return (
            PredictJob if remote is None else partial(RemotePredictJob, remote=remote)
        )(
            model=str(model.path),
            image=self._images.reference(target.image.id),
            probabilities=files["probability"],
            classes=files["classes"],
            places=target.places,
            region=target.region,
            focus=target.focus,
            settings=settings,
            entropy=files["entropy"],
        )

    def _on_renewed(self, results: ResultLayers, written: float, event: object) -> None:
        if isinstance(event, TileDone):
            place = event.t, event.z
            results.unexported = True
            results.refresh(*place, "classes", "probability", "entropy")
            if event.field_done:
                results.note_made(place, written)
                self._segmenter.predicted(results, place)

    def _on_event(self, run: ImageRun, results: ResultLayers, event: object) -> None:
        if isinstance(event, TileDone):
            place = event.t, event.z
            results.tile_came(place, last=event.field_done)
            if event.field_done:
                part = run.current.region is not None and place in results.made
                results.note_made(place, 0.0 if part else run.written)
                self._segmenter.predicted(results, place)
            self.share = (run.done + event.progress) / run.total
            self.progressed.emit(self.share)
        elif isinstance(event, Notice):
            self.status = event.sentence
            self.message.emit("info", event.sentence)
            self.changed.emit()
        elif isinstance(event, TileHalved):
            self.status = "Memory is short: going on in smaller tiles …"
            self.changed.emit()
        elif isinstance(event, PredictionFinished):
            run.summary = f"{event.seconds:.1f} s on {event.device}, {event.precision}."

    def _on_ended(self, run: ImageRun, results: ResultLayers, cancelled: bool) -> None:
        self._stop_growing(results)
        if cancelled:
            self._end("Cancelled; what was done is kept.")
        else:
            self._next(run)

    def _on_failed(self, run: ImageRun, results: ResultLayers, failed: Failed) -> None:
        self._stop_growing(results)
        if failed.error == WORKER_ENDED:
            # the next image might end it as well
            run.to_follow.clear()
        self._skip(run, failed.sentence)

    def _stop_growing(self, results: ResultLayers) -> None:
        results.flush_refresh()
        results.cells.growing = False
        self.image_ended.emit()

    def _skip(self, run: ImageRun, sentence: str) -> None:
        """Say why an image cannot be predicted, and go on with the next one."""
        if run is not self._run:
            return  # cancelled while its pixels were copied
        run.summary = "Not done."
        self.message.emit("error", sentence)
        self._next(run)

    def _next(self, run: ImageRun) -> None:
        if run.to_follow:
            run.current, run.done = run.to_follow.pop(0), run.done + 1
            self.begin(run)
        else:
            self._end(run.summary)

    def _end(self, status: str) -> None:
        self._run, self.status = None, status
        self.changed.emit()
