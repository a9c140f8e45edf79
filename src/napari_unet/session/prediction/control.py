"""Predicting in a viewer: with which model, what of which images, and the results."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.core.jobs import LoadModelJob, PredictFolderJob, RemotePredictFolderJob
from napari_unet.core.starters import AUTO
from napari_unet.session.compute_place import ComputePlace
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.prediction.cell_tables import CellTables
from napari_unet.session.prediction.export import Exporter
from napari_unet.session.prediction.folder_prediction import FolderPrediction
from napari_unet.session.prediction.image_prediction import ImagePrediction, ImageRun
from napari_unet.session.prediction.model_results import ModelResults
from napari_unet.session.prediction.points import PointLayers
from napari_unet.session.prediction.segmentation import Segmenter
from napari_unet.session.prediction.starter_choice import StarterChoice
from napari_unet.session.prediction.targets import Targets
from napari_unet.session.throttle import Debounce

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.core.images.array_reference import (
        AnnotationReference,
        ArrayReference,
        ImageReference,
    )
    from napari_unet.core.settings import Segmentation
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.models import ModelEntry, ModelList
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.targets import Extent, Target
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle

# Settings are saved when they have not moved for this long.
_SETTLED_S = 0.5


class PredictionControl:
    """Predicts images of a viewer with the chosen model.

    `results` are the latest of each image, by its id; `folder` is the last folder that
    was predicted, until its outcome is dismissed. `place` is the computer that predicts
    open images and folders; `renew` predicts on this one.
    """

    changed = Signal()
    """It began or ended, or cells were found."""
    progressed = Signal(float)
    """Share of the requested pixels that are done, 0 to 1."""
    segmentation_changed = Signal(object)

    def __init__(
        self, session: Session, models: ModelList, place: ComputePlace | None = None
    ) -> None:
        self.place = place or ComputePlace()
        self._session, self._models = session, models
        self.message = session.message
        self._viewer, self._store = session.viewer, session.store
        self._images, self._worker = session.images, session.worker
        self.targets = Targets(session, models)
        self.model_results = ModelResults(session)
        self.results = self.model_results.latest
        self.segmenter = Segmenter(
            session,
            self.results,
            self._first_segmentation(),
            self._edits_of,
            self._painted_on,
        )
        self.exporter = Exporter(session, self.results, self.segmenter)
        self.points = PointLayers(session, self.results, self.segmenter)
        self.tables = CellTables(session, self.results, self.segmenter)
        self.starter_choice = StarterChoice(session, models)
        self.folder: FolderPrediction | None = None
        self._run = ImagePrediction(
            session, self.model_results, self.segmenter, self.place
        )
        self._warm: Path | None = None
        self._sharing: set[str] = set()  # images whose pixels are copied once more
        self._warned: set[str] = set()
        self._unsaved = Debounce(_SETTLED_S)
        self._viewer.dims.events.current_step.connect(self._on_scrolled)
        self._run.image_ended.connect(self.segmenter.go_on)
        self._run.image_ended.connect(self.points.go_on)
        self._run.image_ended.connect(self.tables.go_on)
        forward_signal(self._run.changed, self.changed)
        forward_signal(self._run.progressed, self.progressed)
        models.selected_changed.connect(self._on_model)
        forward_signal(self.segmenter.changed, self.changed)
        forward_signal(self.segmenter.failed, self.message, "error")
        forward_signal(self.starter_choice.changed, self.changed)
        self.exporter.changed.connect(self._on_files)

    @property
    def running(self) -> bool:
        """Whether open images are being predicted."""
        return self._run.running or self.starter_choice.waiting

    @property
    def busy(self) -> bool:
        """Whether images, open or of a folder, are predicted or exported."""
        return self.running or self._writing is not None

    @property
    def progress(self) -> float:
        """Share of the current work that is done, 0 to 1."""
        writing = None if self.running else self._writing
        return self._run.share if writing is None else writing.progress

    @property
    def status(self) -> str:
        """The current or last work, in a few words."""
        if self.starter_choice.waiting:
            return "Trying which model suits the image …"
        writing = None if self.running else self._writing
        return self._run.status if writing is None else writing.status

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
        """Begin to predict; False if that is impossible, for the reason in a `message`.

        `options` are averaging and size of tiles, see `core.settings.Prediction`.
        """
        try:
            settings = self._session.preferences.prediction(**options)
            if self.running:
                raise ValueError("A prediction is running: cancel it first.")
            if self._models.automatic and self._models.entry is None:
                image = self.targets.image_in_view()
                then = partial(self._predict_with_starter, image, extent, options)
                self.starter_choice.find(image.id, then)
                return True
            model, targets = self._models.entry, self.targets.find(extent)
            if model is None:
                raise ValueError(self.targets.problem())
        except ValueError as error:
            self.message.emit("error", str(error))
            return False
        doubts = dict.fromkeys(doubt for t in targets for doubt in t.doubts(model.card))
        for sentence in doubts:
            if sentence not in self._warned:
                self._warned.add(sentence)
                self.message.emit("warning", sentence)
        self._models.note_use()
        first, *others = targets
        self._run.begin(ImageRun(model, settings, first, others))
        return True

    def renew(self, results: ResultLayers, target: Target) -> Handle | None:
        """Predict a part of earlier results again, with the model as it is now.

        They stay visible until they are replaced. None if that is impossible, for the
        reason in a `message`.
        """
        model = self._models.entry
        return None if model is None else self._run.renew(model, results, target)

    def _predict_with_starter(
        self, image: ProjectImage, extent: Extent, options: dict[str, Any]
    ) -> None:
        """Predict with the starter that was chosen for an image, if it is in view."""
        current = self._images.current
        if extent != "images" and (current is None or current.id != image.id):
            self.message.emit(
                "warning",
                f"{image.name} was not predicted, as another image came into view "
                "while models were tried: go back to it and predict again.",
            )
            return
        self.predict(extent, **options)

    def use_instead(self, before: ModelEntry, path: Path) -> None:
        """Give the results of a model to another file: it was renamed, or has learnt.

        If the model is in use, so is the file from now on, with the present settings.
        A ValueError says that the file is no model.
        """
        settings, in_use = self.segmentation, before is self._models.entry
        if in_use:
            self._models.select(path)
        self._models.refresh()
        now = next(entry for entry in self._models.entries if entry.path == path)
        self.model_results.pass_on(before, now)
        self._run.pass_on(before, now)
        if in_use:
            self.set_segmentation(settings)

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
        # for Automatic, the images of the folder decide
        automatic = self._models.automatic
        model = AUTO if automatic else self._models.selected
        if model is None:
            self.message.emit("error", self.targets.problem())
            return
        if self.folder is not None and self.folder.running:
            self.message.emit("error", "A folder is being predicted: cancel it first.")
            return
        settings = self._session.preferences.prediction(**options)
        segmentation = None if automatic else self.segmentation
        given = str(source), str(target), settings, segmentation, tuple(kinds), channel
        remote = self.place.new_run()
        if remote is None:
            job = PredictFolderJob(str(model), *given, cluster)
        elif problem := self._remote_problem(cluster):
            self.message.emit("error", problem)
            return
        else:
            job = RemotePredictFolderJob(str(model), *given, remote=remote)
        handle = self._worker.submit(job)
        self.folder = FolderPrediction(handle, source, target)
        self.folder.changed.connect(self._on_folder)
        self._on_files()

    def _remote_problem(self, cluster: str) -> str:
        """Return why another computer cannot predict a folder; empty if it can."""
        if cluster:
            return f"It is computed on {self.place.where} or by a cluster, not by both."
        if self._models.automatic:
            return f"Choose a model for {self.place.where}: Automatic is chosen here."
        return ""

    def dismiss_folder(self) -> None:
        """Drop the outcome of a folder, if its prediction has ended."""
        if self.folder is not None and not self.folder.running:
            self.folder = None
            self.changed.emit()

    def cancel(self) -> None:
        """Stop at the next tile; what is done stays."""
        self._cancel_here()
        if self.folder is not None:
            self.folder.handle.cancel()

    def _cancel_here(self) -> None:
        """Stop all but the prediction of a folder."""
        self.starter_choice.cancel()
        self.exporter.cancel()
        self._run.cancel()

    def warm_up(self) -> None:
        """Let the worker read the chosen model, so that predicting begins at once."""
        model, image = self._models.selected, self._images.current
        if self._worker.busy or self.running:
            return
        paths = [starter.path for starter in self._models.starters]
        if (
            (self._models.automatic or model in paths)
            and image is not None
            and self._images.layers(image.id)
            and not self.starter_choice.knows(image.id)
            # it would fail, which nobody has asked for
            and not self.targets.problem()
        ):
            # also for one that was chosen by hand, to warn if it does not suit
            self.starter_choice.find(image.id)
            return
        if model is None or model == self._warm:
            return
        self._warm = model
        self._worker.submit(
            LoadModelJob(str(model), self._session.preferences.prediction())
        )

    def forget_loaded_model(self) -> None:
        """Note that the worker has ended, and with it the model that it had loaded."""
        self._warm = None

    def unexported(self) -> list[str]:
        """Return the names of the images whose results are in no file."""
        return [r.image.name for r in self.results.values() if r.unexported]

    def show_again(self, image_id: str) -> None:
        """Show what was predicted of an image that is open again."""
        if (results := self.results.get(image_id)) is not None:
            results.claim()

    def results_in_view(self) -> ResultLayers | None:
        """Return the latest results of the image in view, None if it has none."""
        return self._images.of_current(self.results)

    def cells_in_view(self) -> int | None:
        """Return how many cells the slice in view has; None if that is not known.

        Of a network for volumes those of the volume.
        """
        results = self.results_in_view()
        return results.cells_in_view() if results is not None else None

    def tick(self) -> None:
        """Draw changes and find more cells; called some times a second."""
        if not self.exporter.running:
            self.model_results.drop_deleted(self._run.image_id)
        for results in self.results.values():
            results.show_next()
            results.visibility.update()
            results.flush_refresh()
        self._follow_pixels()
        self.segmenter.go_on()
        if self._unsaved.take():
            self._save_segmentation()

    def close(self) -> None:
        """Stop, disconnect from the viewer and delete the results' files."""
        if self._unsaved.pending:
            self._save_segmentation()
        self.segmenter.stop()
        self._viewer.dims.events.current_step.disconnect(self._on_scrolled)
        self._models.selected_changed.disconnect(self._on_model)
        # not a folder, which another computer goes on predicting; here, its job ends
        # with the worker
        self._cancel_here()
        self.starter_choice.close()
        self.exporter.close()
        self.points.close()
        self.tables.close()
        self.model_results.close()

    @property
    def _writing(self) -> FolderPrediction | Exporter | None:
        """The running prediction or export that writes files, if any."""
        if self.folder is not None and self.folder.running:
            return self.folder
        return self.exporter if self.exporter.running else None

    def _on_model(self) -> None:
        """Find cells as the model's card says."""
        card = self._models.card
        if card is not None:
            self.set_segmentation(card.segmentation)
        self._warm = None
        self.changed.emit()

    def _follow_pixels(self) -> None:
        """Share pixels anew where an image was opened again, or has others now."""
        if not (self.tables.watched or self.segmentation.edge_smoothing):
            return  # nothing looks at them
        for image_id, results in self.results.items():
            known, is_open = results.pixels, self._images.layers(image_id)
            if known is None or not is_open or image_id in self._sharing:
                continue
            try:
                now = self._images.reference(image_id)
            except OSError as error:
                self._sharing.add(image_id)  # or each tick would say it
                self.message.emit("error", str(error))
                continue
            if now.channels == known.channels:
                continue
            self._sharing.add(image_id)
            times = sorted({t for t, _ in results.cells.predicted})
            self._images.share_frames(image_id, times).then(
                partial(self._use_pixels, results, now),
                partial(self.message.emit, "error"),
            )

    def _use_pixels(self, results: ResultLayers, now: ImageReference) -> None:
        self._sharing.discard(results.image.id)
        results.pixels = now
        self.tables.measure_again(results.image.id)
        if self.segmentation.edge_smoothing:
            self.segmenter.find_again()

    def _on_folder(self) -> None:
        folder = self.folder
        if folder is not None and not folder.running:
            self.message.emit("info" if folder.good else "warning", folder.sentence)
        self._on_files()

    def _on_files(self) -> None:
        if self.busy and not self.running:
            # the prediction before is no longer the last work
            self._run.status = ""
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
            return None  # the image left the project
        except (ValueError, OSError) as error:
            if str(error) not in self._warned:
                self._warned.add(str(error))
                self.message.emit("error", f"Edits of cells are left out. {error}")
            return None
        return file.reference if file is not None else None

    def _painted_on(self, image_id: str) -> AnnotationReference | None:
        """Return what is annotated of an image where corrections are shown at once."""
        if not self._session.preferences.learn_corrections:
            return None
        try:
            return self._images.annotation_reference(image_id)
        except (KeyError, ValueError, OSError):
            return None  # it left the project, or the error is reported elsewhere

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
            # the settings are of this model: offer it first
            self._models.note_use()
        changes = {"segmentation": self.segmentation, "tuned": tuned}
        self._store.update(self._store.project.replace(**changes))
