"""Predicting: which model, which images, and the layers in which the result appears."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.core.events import Notice, PredictionFinished, TileDone, TileHalved
from napari_unet.core.jobs import (
    FarPredictFolderJob,
    FarPredictJob,
    LoadModelJob,
    PredictFolderJob,
    PredictJob,
)
from napari_unet.core.starters import AUTO
from napari_unet.session.compute_place import ComputePlace
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.prediction.cell_tables import CellTables
from napari_unet.session.prediction.export import Exporter
from napari_unet.session.prediction.folder_prediction import FolderPrediction
from napari_unet.session.prediction.model_results import ModelResults
from napari_unet.session.prediction.points import PointLayers
from napari_unet.session.prediction.segmentation import Segmenter
from napari_unet.session.prediction.starter_choice import StarterChoice
from napari_unet.session.prediction.targets import Targets
from napari_unet.session.throttle import Debounce
from napari_unet.session.worker.client import WORKER_ENDED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.components import ViewerModel

    from napari_unet.core.far_messages import FarRun
    from napari_unet.core.images.array_reference import (
        AnnotationReference,
        ArrayReference,
    )
    from napari_unet.core.messages import Failed
    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.models import ModelEntry, ModelList
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.targets import Extent, Target
    from napari_unet.session.preferences import Preferences
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Handle, Worker

# Settings are saved when they have not moved for this long.
_SETTLED_S = 0.5


@dataclass(slots=True, eq=False)
class _Run:
    """A prediction of some images; a model that is chosen later does not matter.

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
        return self.done + 1 + len(self.to_follow)


class PredictionControl:
    """Predicts images of a viewer with the chosen model.

    The results are in the folder `scratch`.

    `results` are the latest of each image, by its id; `folder` is the last folder that
    was predicted, until people have read what became of it. `place` is the computer
    that open images and folders are predicted on; what is renewed is predicted here.
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
        place: ComputePlace | None = None,
    ) -> None:
        self.place = place or ComputePlace()
        self._viewer, self._store, self._images = viewer, store, images
        self._worker, self._models = worker, models
        self.preferences = preferences
        self.targets = Targets(viewer, store, images, models)
        self.model_results = ModelResults(viewer, images, scratch)
        self.results = self.model_results.latest
        self.segmenter = Segmenter(
            worker,
            self.results,
            self._first_segmentation(),
            self._edits_of,
            self._painted_on,
        )
        self.exporter = Exporter(store, images, worker, self.results, self.segmenter)
        self.points = PointLayers(viewer, worker, self.results, self.segmenter)
        self.tables = CellTables(viewer, images, worker, self.results, self.segmenter)
        self.starter_choice = StarterChoice(images, models, worker, preferences)
        self.folder: FolderPrediction | None = None
        self._run: _Run | None = None
        self._share = 0.0
        self._status = ""
        self._warm: Path | None = None
        self._warned: set[str] = set()
        self._unsaved = Debounce(_SETTLED_S)
        viewer.dims.events.current_step.connect(self._on_scrolled)
        models.selected_changed.connect(self._on_model)
        forward_signal(self.segmenter.changed, self.changed)
        forward_signal(self.segmenter.failed, self.message, "error")
        forward_signal(self.segmenter.worker_died, self.message, "error")
        forward_signal(self.points.failed, self.message, "error")
        forward_signal(self.tables.failed, self.message, "error")
        forward_signal(self.starter_choice.failed, self.message, "error")
        forward_signal(self.starter_choice.changed, self.changed)
        forward_signal(self.exporter.message, self.message)
        self.exporter.changed.connect(self._on_files)

    @property
    def running(self) -> bool:
        """Whether open images are being predicted."""
        return self._run is not None or self.starter_choice.waiting

    @property
    def busy(self) -> bool:
        """Whether images, open or of a folder, are predicted or exported."""
        return self.running or self._writing is not None

    @property
    def progress(self) -> float:
        """Share of what goes on that is done, 0 to 1."""
        writing = None if self.running else self._writing
        return self._share if writing is None else writing.progress

    @property
    def status(self) -> str:
        """What goes on, or went on last, in a few words."""
        if self.starter_choice.waiting:
            return "Trying which model suits the image …"
        writing = None if self.running else self._writing
        return self._status if writing is None else writing.status

    @property
    def segmentation(self) -> Segmentation:
        """How cells are found."""
        return self.segmenter.settings

    def set_segmentation(self, settings: Segmentation) -> None:
        """Find cells anew: at once in the slice in view, then in the others."""
        if settings == self.segmentation:
            return
        self._unsaved.note()
        self.segmenter.set_settings(settings)
        self.segmentation_changed.emit(settings)

    def predict(self, extent: Extent, **options: Any) -> bool:
        """Begin to predict; False if it cannot be, for the reason in a `message`.

        Parameters
        ----------
        extent : {"slice", "view", "layer", "images"}
        **options
            Averaging and size of tiles, see `core.settings.Prediction`.
        """
        try:
            settings = self.preferences.prediction(**options)
            if self.running:
                raise ValueError("A prediction is running: cancel it first.")
            if self._models.automatic and self._models.entry is None:
                image, again = self.targets.image_in_view(), self.predict
                then = partial(again, extent, **options)
                self.starter_choice.find(image.id, then)
                return True
            model, targets = self._models.entry, self.targets.find(extent)
            if model is None:
                raise ValueError(self.targets.problem())
        except ValueError as error:
            self.message.emit("error", str(error))
            return False
        doubtful = (t.resampling for t in targets if t.resampling.implausible)
        for sentence in {resampling.sentence for resampling in doubtful} - self._warned:
            self._warned.add(sentence)
            self.message.emit("warning", sentence)
        self._models.note_use()
        self._run = _Run(model, settings, targets[0], targets[1:])
        self._share = 0.0
        self._prepare(self._run)
        return True

    def renew(self, results: ResultLayers, target: Target) -> Handle | None:
        """Predict a part of what was predicted before, with the model as it is now.

        What is seen of it stays until there is something newer. None if it cannot be,
        for the reason in a `message`.
        """
        model, settings = self._models.entry, results.settings
        if model is None or settings is None:
            return None
        try:
            job = self._job(model, settings, target, results)
        except (ValueError, KeyError) as error:
            self.message.emit("error", str(error))
            return None
        written = 0.0 if target.region is not None else model.written
        handle = self._worker.submit(job)
        handle.event.connect(partial(self._on_renewed, results, written))
        handle.ended.connect(results.flush_refresh)
        return handle

    def pass_on(self, before: ModelEntry, now: ModelEntry) -> None:
        """Go on with the results of a model as those of what became of it."""
        self.model_results.pass_on(before, now)
        if self._run is not None and self._run.model.path == before.path:
            self._run.model = now

    def predict_folder(
        self,
        source: Path,
        target: Path,
        kinds: Sequence[str] = (),
        channel: int | None = None,
        cluster: str = "",
        **options: Any,
    ) -> None:
        """Predict all images of a folder into files of another one.

        `kinds`, `channel` and `cluster` are as of `PredictFolderJob`.
        """
        # which model suits the image in view is no matter
        automatic = self._models.automatic
        model = AUTO if automatic else self._models.selected
        if model is None:
            self.message.emit("error", self.targets.problem())
            return
        if self.folder is not None and self.folder.running:
            self.message.emit("error", "A folder is being predicted: cancel it first.")
            return
        settings = self.preferences.prediction(**options)
        segmentation = None if automatic else self.segmentation
        given = str(source), str(target), settings, segmentation, tuple(kinds), channel
        far = self.place.new_run()
        if far is None:
            job = PredictFolderJob(str(model), *given, cluster)
        elif problem := self._far_problem(cluster):
            self.message.emit("error", problem)
            return
        else:
            job = FarPredictFolderJob(str(model), *given, far=far)
        handle = self._worker.submit(job)
        self.folder = FolderPrediction(handle, source, target)
        self.folder.changed.connect(self._on_folder)
        self._on_files()

    def _far_problem(self, cluster: str) -> str:
        """Say why a folder cannot be predicted on another computer, if so."""
        if cluster:
            return f"It is computed on {self.place.where} or by a cluster, not by both."
        if self._models.automatic:
            return f"Choose a model for {self.place.where}: Automatic is chosen here."
        return ""

    def dismiss_folder(self) -> None:
        """Forget what became of a folder, if that is over."""
        if self.folder is not None and not self.folder.running:
            self.folder = None
            self.changed.emit()

    def cancel(self) -> None:
        """Stop at the next tile; what is done stays."""
        self.starter_choice.cancel()
        self.exporter.cancel()
        if self.folder is not None:
            self.folder.handle.cancel()
        if self._run is not None:
            self._run.to_follow.clear()
            if self._run.handle is not None:
                self._run.handle.cancel()
            else:
                self._end("Cancelled.")

    def warm_up(self) -> None:
        """Let the worker read the chosen model, so that predicting begins at once."""
        model, image = self._models.selected, self._images.current
        if self._worker.busy or self.running:
            return
        starter = self._models.automatic or model in self._models.starter_paths
        if (
            starter
            and image is not None
            and self._images.layers(image.id)
            and not self.starter_choice.knows(image.id)
        ):
            # also one that was chosen by hand: it is said if it does not suit
            self.starter_choice.find(image.id)
            return
        if model is None or model == self._warm:
            return
        self._warm = model
        self._worker.submit(LoadModelJob(str(model), self.preferences.prediction()))

    def forget_loaded_model(self) -> None:
        """The worker is gone, and the model that it had read with it."""
        self._warm = None

    def unexported(self) -> list[str]:
        """Return the names of the images whose results would be gone at the end."""
        return [r.image.name for r in self.results.values() if r.unexported]

    def show_again(self, image_id: str) -> None:
        """Show what was predicted of an image that is open again."""
        if (results := self.results.get(image_id)) is not None:
            results.claim()

    def results_in_view(self) -> ResultLayers | None:
        """Return the latest results of the image in view, None if it has none."""
        image = self._images.current
        return self.results.get(image.id) if image is not None else None

    def cells_in_view(self) -> int | None:
        """Return how many cells the slice in view has; None if that is not known."""
        results = self.results_in_view()
        return results.cells_in_view() if results is not None else None

    def tick(self) -> None:
        """Draw what is left to draw and find more cells; some times a second."""
        if not self.exporter.running:
            self.model_results.drop_deleted(
                self._run.current.image.id if self._run else None
            )
        for results in self.results.values():
            results.show_next()
            results.visibility.update()
            results.flush_refresh()
        self.segmenter.go_on()
        if self._unsaved.take():
            self._save_segmentation()

    def close(self) -> None:
        """Stop, let go of the viewer and delete the results' files."""
        if self._unsaved.pending:
            self._save_segmentation()
        self.segmenter.stop()
        self._viewer.dims.events.current_step.disconnect(self._on_scrolled)
        self._models.selected_changed.disconnect(self._on_model)
        self.cancel()
        self.starter_choice.close()
        self.exporter.close()
        self.points.close()
        self.tables.close()
        self.model_results.close()

    @property
    def _writing(self) -> FolderPrediction | Exporter | None:
        """What writes files now, if anything does."""
        if self.folder is not None and self.folder.running:
            return self.folder
        return self.exporter if self.exporter.running else None

    def _prepare(self, run: _Run) -> None:
        """Have the pixels of the current image copied to where the worker can read."""
        run.handle, run.summary = None, "Done."
        self._status = "Reading the image …"
        self.changed.emit()
        times = [t for t, _ in run.current.places]
        try:
            pixels = self._images.share_frames(run.current.image.id, times)
        except (ValueError, KeyError) as error:
            self._skip(run, str(error))
        else:
            pixels.then(partial(self._submit, run), partial(self._skip, run))

    def _submit(self, run: _Run) -> None:
        if run is not self._run:
            return  # cancelled while its pixels were copied
        target = run.current
        try:
            results = self.model_results.of(
                target.image.id, run.model, self._store.project
            )
        except (ValueError, KeyError, OSError) as error:
            self._skip(run, str(error))
            return
        far = self.place.new_run()
        if far is not None and target.region is not None:
            # what comes back is whole
            target = run.current = replace(target, region=None)
        try:
            job = self._job(run.model, run.settings, target, results, far)
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
        self._status = f"Predicting {job.image.name} …"
        self.changed.emit()

    def _job(
        self,
        model: ModelEntry,
        settings: Prediction,
        target: Target,
        results: ResultLayers,
        far: FarRun | None = None,
    ) -> PredictJob:
        files = results.files
        if target.resampling.implausible:
            settings = settings.replace(rescale=False)
        return (PredictJob if far is None else partial(FarPredictJob, far=far))(
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
                self.segmenter.predicted(results, place)

    def _on_event(self, run: _Run, results: ResultLayers, event: object) -> None:
        if isinstance(event, TileDone):
            place = event.t, event.z
            results.tile_came(place, last=event.field_done)
            if event.field_done:
                part = run.current.region is not None and place in results.made
                results.note_made(place, 0.0 if part else run.written)
                self.segmenter.predicted(results, place)
            self._share = (run.done + event.progress) / run.total
            self.progressed.emit(self._share)
        elif isinstance(event, Notice):
            self._status = event.sentence
            self.message.emit("info", event.sentence)
            self.changed.emit()
        elif isinstance(event, TileHalved):
            self._status = "Memory is short: going on in smaller tiles …"
            self.changed.emit()
        elif isinstance(event, PredictionFinished):
            run.summary = f"{event.seconds:.1f} s on {event.device}, {event.precision}."

    def _on_ended(self, run: _Run, results: ResultLayers, cancelled: bool) -> None:
        self._stop_growing(results)
        if cancelled:
            self._end("Cancelled; what was done is kept.")
        else:
            self._next(run)

    def _on_failed(self, run: _Run, results: ResultLayers, failed: Failed) -> None:
        self._stop_growing(results)
        if failed.error == WORKER_ENDED:
            # the next image might end it as well
            run.to_follow.clear()
        self._skip(run, failed.sentence)

    def _stop_growing(self, results: ResultLayers) -> None:
        results.flush_refresh()
        results.cells.growing = False
        self.segmenter.go_on()
        self.points.go_on()
        self.tables.go_on()

    def _skip(self, run: _Run, sentence: str) -> None:
        """Say why an image cannot be predicted, and go on with the next one."""
        if run is not self._run:
            return  # cancelled while its pixels were copied
        run.summary = "Not done."
        self.message.emit("error", sentence)
        self._next(run)

    def _next(self, run: _Run) -> None:
        if run.to_follow:
            run.current, run.done = run.to_follow.pop(0), run.done + 1
            self._prepare(run)
        else:
            self._end(run.summary)

    def _end(self, status: str) -> None:
        self._run, self._status = None, status
        self.changed.emit()

    def _on_model(self) -> None:
        """Find cells as the model's card says."""
        card = self._models.card
        if card is not None:
            self.set_segmentation(card.segmentation)
        self._warm = None
        self.changed.emit()

    def _on_folder(self) -> None:
        folder = self.folder
        if folder is not None and not folder.running:
            self.message.emit("info" if folder.good else "warning", folder.sentence)
        self._on_files()

    def _on_files(self) -> None:
        if self.busy and not self.running:
            # what was predicted before is no longer the last thing that went on
            self._status = ""
        self.changed.emit()

    def _on_scrolled(self) -> None:
        for results in self.results.values():
            results.visibility.update()
        self.segmenter.go_on()
        self.changed.emit()

    def _edits_of(self, image_id: str) -> ArrayReference | None:
        try:
            file = self._store.cell_edits(image_id)
        except KeyError:
            return None  # of an image that left the project
        except (ValueError, OSError) as error:
            if str(error) not in self._warned:
                self._warned.add(str(error))
                self.message.emit("error", f"Edits of cells are left out. {error}")
            return None
        return file.reference if file is not None else None

    def _painted_on(self, image_id: str) -> AnnotationReference | None:
        """Return what is annotated of an image where corrections are shown at once."""
        if not self.preferences.learn_corrections:
            return None
        try:
            return self._images.annotation_reference(image_id)
        except (KeyError, ValueError, OSError):
            return None  # it left the project, or what is wrong is said elsewhere

    def _first_segmentation(self) -> Segmentation:
        """Return the settings of the model that is chosen to begin with.

        Its card's, unless people changed them when they used it last.
        """
        project, card = self._store.project, self._models.card
        tuned = project.tuned and self._models.selected == self._models.used_last
        return project.segmentation if card is None or tuned else card.segmentation

    def _save_segmentation(self) -> None:
        card = self._models.card
        tuned = card is not None and card.segmentation != self.segmentation
        if tuned:
            # they are those of this model: it is the one to be offered first
            self._models.note_use()
        changes = {"segmentation": self.segmentation, "tuned": tuned}
        self._store.update(self._store.project.replace(**changes))
