"""Predicting: which model, which images, and the layers in which the result appears."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import PredictionFinished, TileDone, TileHalved
from napari_unet.core.jobs import LoadModelJob, PredictJob
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.prediction.exporting import Exporting
from napari_unet.session.prediction.model_results import ModelResults
from napari_unet.session.prediction.prediction_order import (
    Request,
    factors_for,
    mistaken,
)
from napari_unet.session.prediction.prediction_targets import Targets
from napari_unet.session.prediction.segmenting import Segmenting
from napari_unet.session.worker.client import WORKER_ENDED

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel

    from napari_unet.core.messages import Failed
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.prediction.models import ModelList
    from napari_unet.session.prediction.prediction_order import Averaging, Extent, Order
    from napari_unet.session.prediction.result_files import What
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.preferences import Preferences
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Handle, Worker

# Settings are saved when they have not moved for this long.
_SETTLED_S = 0.5


class PredictionControl:
    """Predicts images of a viewer with the chosen model.

    Parameters
    ----------
    viewer : ViewerModel
    store : ProjectStore
    images : ImageList
    worker : Worker
    models : ModelList
    scratch : Path
        Folder for the results.
    preferences : Preferences
    """

    changed = Signal()
    """It began or ended, or cells were found."""
    progressed = Signal(float)
    """Share of all that was asked for that is done, 0 to 1."""
    message = Signal(str, str)
    """A level (info, warning, error) and a sentence."""
    segmentation_changed = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        store: ProjectStore,
        images: ImageList,
        worker: Worker,
        models: ModelList,
        scratch: Path,
        preferences: Preferences,
    ) -> None:
        self._viewer, self._store, self._images = viewer, store, images
        self._worker, self._models = worker, models
        self.preferences = preferences
        self.targets = Targets(viewer, store, images, models)
        self._orders: list[Order] = []
        self._total = 0
        self._current: Order | None = None
        self._handle: Handle | None = None
        self._what = Request(None, Prediction(), False)
        self._warm: Path | None = None
        self._remarked: set[str] = set()
        self._unsaved: float | None = None
        self.progress = 0.0
        self._status = ""
        self.segmenting = Segmenting(worker, self._first_segmentation())
        self.made = ModelResults(viewer, images, scratch)
        self.exporting = Exporting(store, images, worker, self.made, self.segmenting)
        viewer.dims.events.current_step.connect(self._on_scrolled)
        models.selected_changed.connect(self._on_model)
        self.made.dropped.connect(self.segmenting.forget)
        forward_signal(self.segmenting.changed, self.changed)
        forward_signal(self.segmenting.failed, self.message, "error")
        forward_signal(self.exporting.message, self.message)
        self.exporting.changed.connect(self._on_exporting)

    @property
    def running(self) -> bool:
        """Whether something is being predicted."""
        return self._current is not None

    @property
    def status(self) -> str:
        """What goes on, or went on last, in a few words."""
        return self._status if self.running else self.exporting.status or self._status

    @property
    def results(self) -> dict[str, ResultLayers]:
        """The latest results of each image, by its id."""
        return self.made.latest

    @property
    def segmentation(self) -> Segmentation:
        """How cells are found."""
        return self.segmenting.settings

    def set_segmentation(self, settings: Segmentation) -> None:
        """Find cells anew: at once in the slice in view, then in the others."""
        if settings == self.segmentation:
            return
        self._unsaved = monotonic()
        self.segmenting.set_settings(settings)
        self.segmentation_changed.emit(settings)

    def predict(
        self,
        what: Extent,
        entropy: bool = False,
        averaging: Averaging = "none",
        tile: int = 0,
    ) -> bool:
        """Begin to predict; False if something speaks against it: `message` tells.

        Parameters
        ----------
        what : {"slice", "view", "layer", "images"}
        entropy : bool
            Also show how uncertain the network is.
        averaging, tile
            See `core.settings.Prediction`.
        """
        try:
            settings = self.preferences.prediction(averaging=averaging, tile=tile)
            if self.running:
                raise ValueError("A prediction is running: cancel it first.")
            orders = self.targets.orders(what)
        except ValueError as error:
            self.message.emit("error", str(error))
            return False
        for sentence in self.targets.doubts(orders) - self._remarked:
            self._remarked.add(sentence)
            self.message.emit("warning", sentence)
        self._models.note_use()
        self._what = Request(self._models.entry, settings, entropy)
        self._orders, self._total = orders, len(orders)
        self.progress = 0.0
        self._next()
        return True

    def predict_folder(
        self, source: Path, target: Path, averaging: Averaging = "none", tile: int = 0
    ) -> None:
        """Predict all images of a folder into files of another one."""
        model = self._models.selected
        if model is None:
            self.message.emit("error", self.targets.objection())
            return
        settings = self.preferences.prediction(averaging=averaging, tile=tile)
        self.exporting.predict_folder(
            model, source, target, settings, self.segmentation
        )

    def cancel(self) -> None:
        """Stop at the next tile; what is done stays."""
        self._orders = []
        self.exporting.cancel()
        if self._handle is not None:
            self._handle.cancel()
        elif self._current is not None:
            # the pixels are still being copied
            self._end("Cancelled.")

    def warm_up(self) -> None:
        """Let the worker read the chosen model, so that predicting begins at once."""
        model = self._models.selected
        if model is None or model == self._warm or self._worker.busy:
            return
        self._warm = model
        job = LoadModelJob(str(model), self.preferences.prediction())
        self._worker.submit(job, f"Load {model.stem}")

    def cool_down(self) -> None:
        """The worker is gone, and the model that it had read with it."""
        self._warm = None

    def unexported(self) -> list[str]:
        """Return the names of the images whose results would be gone at the end."""
        return [r.image.name for r in self.results.values() if r.unexported]

    def cells_in_view(self) -> int | None:
        """Return how many cells the slice in view has; None if that is not known."""
        image = self._images.current
        results = self.results.get(image.id) if image else None
        return self.segmenting.count_in_view(results) if results else None

    def tick(self) -> None:
        """Draw what is left to draw and go on behind; called a few times a second."""
        if not self.exporting.running:
            self.made.drop_deleted(self._current.image_id if self._current else None)
        for results in self.results.values():
            results.show_next()
            results.visibility.look()
            results.flush_refresh()
        self.segmenting.go_on()
        if self._unsaved is not None and monotonic() - self._unsaved > _SETTLED_S:
            self._save_segmentation()

    def close(self) -> None:
        """Stop, let go of the viewer and delete the results' files."""
        self._save_segmentation()
        self._orders = []
        if self._handle is not None and self._handle.running:
            self._handle.cancel()
        self.segmenting.stop()
        self._viewer.dims.events.current_step.disconnect(self._on_scrolled)
        self._models.selected_changed.disconnect(self._on_model)
        self.exporting.close()
        self.made.close()

    def _next(self) -> None:
        """Begin with the next image, or end."""
        self._handle = None
        if not self._orders:
            self._end("Done." if self._total else "Cancelled.")
            return
        wanted = self._current = self._orders.pop(0)
        self._status = "Reading the image …"
        self.changed.emit()
        # Grey values are normalised over the whole frame, so all of it is needed.
        frames = tuple((t, None) for t in dict.fromkeys(t for t, _ in wanted.places))
        try:
            ready = self._images.ensure(wanted.image_id, frames)
        except (ValueError, KeyError) as error:
            self._skip(str(error))
            return
        ready.then(partial(self._begin, wanted), partial(self._on_no_pixels, wanted))

    def _on_no_pixels(self, wanted: Order, why: str) -> None:
        if wanted is self._current:
            self._skip(why)

    def _begin(self, wanted: Order) -> None:
        model, entropy = self._what.model, self._what.entropy
        if wanted is not self._current or model is None:
            # cancelled while its pixels were copied
            return
        try:
            stored = self._images.stored(wanted.image_id)
            results = self.made.of(wanted.image_id, model, self._store.project)
        except (ValueError, KeyError, OSError) as error:
            self._skip(str(error))
            return
        settings, scale = self._what.settings, None
        if mistaken(model.card, results.image):
            settings = settings.replace(rescale=False)
        else:
            scale = factors_for(model.card, results.image)
        job = PredictJob(
            model=str(model.path),
            image=stored,
            probabilities=results.files["probability"],
            classes=results.files["classes"],
            places=wanted.places,
            region=wanted.region,
            focus=wanted.focus,
            settings=settings,
            entropy=results.files["entropy"] if entropy else None,
        )
        ndim = model.card.training.ndim
        subject = self.segmenting.add(results, ndim, results.image.spacing_um, scale)
        subject.growing = True
        self._handle = self._worker.submit(job, f"Predict {stored.name}")
        self._handle.event.connect(partial(self._on_event, results))
        self._handle.ended.connect(partial(self._on_ended, results))
        self._handle.failed.connect(partial(self._on_failed, results))
        # the worker computes while napari makes the layers
        extra: tuple[What, ...] = ("entropy",) if entropy else ()
        results.show(*extra, gently=True)
        results.growing(wanted.places)
        self._status = f"Predicting {stored.name} …"
        self.changed.emit()

    def _on_event(self, results: ResultLayers, event: object) -> None:
        if isinstance(event, TileDone):
            results.tile_came((event.t, event.z), last=event.field_done)
            if event.field_done and results.has_cells:
                self.segmenting.predicted(results, (event.t, event.z))
            before = self._total - len(self._orders) - 1
            self.progress = (before + event.progress) / max(self._total, 1)
            self.progressed.emit(self.progress)
        elif isinstance(event, TileHalved):
            self._status = "Memory is short: going on in smaller tiles …"
            self.changed.emit()
        elif isinstance(event, PredictionFinished):
            self._status = (
                f"{event.seconds:.1f} s on {event.device}, {event.precision}."
            )

    def _on_ended(self, results: ResultLayers, cancelled: bool) -> None:
        self._grown(results)
        if cancelled:
            self._handle = None
            self._end("Cancelled; what was done is kept.")
        else:
            self._next()

    def _on_failed(self, results: ResultLayers, failed: Failed) -> None:
        self._grown(results)
        if failed.error == WORKER_ENDED:
            # the next image might end it as well
            self._orders = []
        self._skip(failed.sentence)

    def _grown(self, results: ResultLayers) -> None:
        results.flush_refresh()
        subject = self.segmenting.subject(results)
        if subject is not None:
            subject.growing = False
            self.segmenting.go_on()

    def _skip(self, sentence: str) -> None:
        """Say why an image cannot be predicted, and go on with the next one."""
        self._status = "Not done."
        self.message.emit("error", sentence)
        self._next()

    def _end(self, status: str) -> None:
        self._orders, self._current, self._handle = [], None, None
        if not self._status.endswith(".") or status != "Done.":
            self._status = status
        self.changed.emit()

    def _on_model(self) -> None:
        """Find cells as the model's card says."""
        card = self._models.card
        if card is not None:
            self.set_segmentation(card.segmentation)
        self._warm = None
        self.changed.emit()

    def _on_exporting(self) -> None:
        if self.exporting.running and not self.running:
            # what was predicted before is no longer the last thing that went on
            self._status = ""
        self.changed.emit()

    def _on_scrolled(self) -> None:
        for results in self.results.values():
            results.visibility.look()
        self.segmenting.go_on()
        self.changed.emit()

    def _first_segmentation(self) -> Segmentation:
        """Return the settings of the model that is chosen to begin with.

        Its card's, unless people changed them when they used it last.
        """
        project, card = self._store.project, self._models.card
        tuned = project.tuned and self._models.selected == self._models.used_last
        return project.segmentation if card is None or tuned else card.segmentation

    def _save_segmentation(self) -> None:
        if self._unsaved is None:
            return
        self._unsaved = None
        card = self._models.card
        tuned = card is not None and card.segmentation != self.segmentation
        if tuned:
            # they are those of this model: it is the one to be offered first
            self._models.note_use()
        changes = {"segmentation": self.segmentation, "tuned": tuned}
        self._store.update(self._store.project.replace(**changes))
