"""All controls of one viewer, and the project they work with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.jobs import FreeMemoryJob
from napari_unet.io.pretrained import pretrained_models
from napari_unet.session.annotating.control import Annotating
from napari_unet.session.annotating.suggesting import Suggesting
from napari_unet.session.compute_place import ComputePlace
from napari_unet.session.editing.editor import CellEditor
from napari_unet.session.foreign_models import ForeignModels
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.guide import Guide
from napari_unet.session.images.folder_of_images import add_folder
from napari_unet.session.images.image_list import ImageList
from napari_unet.session.images.orphans import Orphans
from napari_unet.session.images.pixel_size import ScaleBar
from napari_unet.session.images.reopening import locate, open_images
from napari_unet.session.images.shared_arrays import SharedArrays
from napari_unet.session.images.side_by_side import SideBySide
from napari_unet.session.images.source_files import SourceFiles
from napari_unet.session.learning.control import CorrectionLearning
from napari_unet.session.models import ModelList
from napari_unet.session.overlay.control import WeightOverlay
from napari_unet.session.prediction.control import PredictionControl
from napari_unet.session.prediction.denoising import Denoiser
from napari_unet.session.project.recovery import default_root, recent_projects
from napari_unet.session.project.store import ProjectStore
from napari_unet.session.scratch import Scratch
from napari_unet.session.session import Session
from napari_unet.session.showing import Showing
from napari_unet.session.training.control import TrainingControl
from napari_unet.session.training.runs import RunList
from napari_unet.session.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.core.events import ModelSaved
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.future import Post
    from napari_unet.session.preferences import Preferences
    from napari_unet.session.project.recovery import RecentProject
    from napari_unet.session.worker.client import Handle


class Workspace:
    """The project of a viewer, its worker, and what can be done with them.

    The docks are views of it; it lives as long as the viewer, whichever docks are open.

    `viewer` is the viewer itself, not the proxy that napari gives to plugins; `post`
    runs a function soon in the main thread, called from any thread; `root` is the
    folder of all projects, by default in the user's data folder.
    """

    message = Signal(str, str)
    """A level (info, warning, error) and a sentence."""
    project_opened = Signal()
    """Another project took the place of this one; all controls below are new."""
    guide_skipped = Signal()
    """The guide is not wanted any more, in no project."""

    def __init__(
        self,
        viewer: ViewerModel,
        post: Post,
        preferences: Preferences,
        root: Path | None = None,
    ) -> None:
        self.viewer = viewer
        # the computers for training and for prediction
        self.place, self.prediction_place = ComputePlace(), ComputePlace()
        self.preferences = preferences
        self._post = post
        self._root = root or default_root()
        self._scratch = Scratch(self._root.parent / "scratch")
        self.scratch = self._scratch.folder
        self.worker = Worker(post)
        self.worker.died.connect(self._on_death)
        self.files = SourceFiles(post)
        self.closed = False
        # image whose annotation begins as soon as no earlier one was found
        self._beginning = ""
        self._compose(ProjectStore.create(self._root))

    def begin(self) -> None:
        """Take the only image that is open into an empty project, ready to be painted.

        Where an older project knows this image, its annotation is offered instead,
        unless it is open in another window. An image whose file leaves open what its
        axes are waits until it is added by hand.
        """
        candidates = self.images.candidates()
        if self.store.project.images or len(candidates) != 1:
            return
        self.files.when_read(candidates, partial(self._begin_with, candidates))

    def _begin_with(self, candidates: list[Layer]) -> None:
        images = self.images
        if self.store.project.images or images.candidates() != candidates:
            return  # changed while the file was read
        if images.is_ambiguous(candidates[0]):
            return
        image = images.add(candidates)
        self._beginning = image.id
        self._begin_annotation(image.id)

    def _begin_annotation(self, image_id: str) -> None:
        """Make a layer to paint in, unless there is earlier work to go on with."""
        if image_id != self._beginning:
            return
        offers = self.annotating.earlier_work.of(image_id)
        if offers is None:
            return  # called again once the search has ended
        self._beginning = ""
        known = image_id in self.store.project.ids
        if known and all(offer.locked for offer in offers):
            self.annotating.layers.show(image_id)

    def open_project(self, folder: Path) -> None:
        """Open another project in place of this one.

        Images of it that are open in the viewer are found again by their content.

        ValueError or RuntimeError if it cannot be read, or is open elsewhere; then this
        one stays.
        """
        self.check_idle()
        self._replace(ProjectStore.open(folder, self._root))

    def new_project(self) -> None:
        """Begin an empty project in place of this one, which is kept.

        Images that are open in the viewer stay there, to be added.

        ValueError as in `open_project`, OSError if there is no room for it.
        """
        self.check_idle()
        self._replace(ProjectStore.create(self._root))

    def check_idle(self) -> None:
        """Raise a ValueError if work is going on that ends with its project."""
        if self.training.state != "idle":
            raise ValueError("Stop the training before opening another project.")
        if self.denoiser.running:
            raise ValueError(
                "An image is being made: wait for it, or press Stop under Denoise in "
                "the Predict dock, before opening another project."
            )
        folder = self.prediction.folder
        if self.prediction.exporter.running or (folder is not None and folder.running):
            raise ValueError(
                "Files are being written: wait for them, or press Cancel in the "
                "Predict dock, before opening another project."
            )

    def save_as(self, folder: Path) -> Future[Path]:
        """Save a copy of the project in a thread; a message tells how it ended."""
        saving = self.store.begin_save_as(folder)
        saving.add_done_callback(lambda _: self._post(partial(self._on_saved, saving)))
        return saving

    def _on_saved(self, saving: Future[Path]) -> None:
        try:
            self.message.emit("info", f"Saved the project in {saving.result()}.")
        except (ValueError, OSError) as error:
            self.message.emit("warning", str(error))

    def recent_projects(self) -> list[RecentProject]:
        """Return the projects that were worked on last, but for this one."""
        found = recent_projects(self._root)
        return [project for project in found if project.folder != self.store.folder]

    def _replace(self, store: ProjectStore) -> None:
        self._dissolve()
        self._compose(store)
        self.project_opened.emit()

    def open_images(self) -> tuple[ProjectImage, ...]:
        """Open the files of images that are closed; return those that are missing."""
        warn = partial(self.message.emit, "warning")
        return open_images(self.viewer, self.store, self.images, warn)

    def add_folder(self, folder: Path) -> Iterator[None]:
        """Add all images of a folder, step by step; see `folder_of_images`."""
        return add_folder(self.viewer, self.images, folder, self.message.emit)

    def locate(self, image_id: str, path: Path) -> None:
        """Open an image of the project where it is now; see `reopening.locate`."""
        locate(self.viewer, self.store, self.images, image_id, path)

    def set_preferences(self, preferences: Preferences) -> None:
        """Use other preferences from the next job on."""
        if preferences.show_guide != self.preferences.show_guide:
            self.guide.set_shown(preferences.show_guide)
        switched = preferences.learn_corrections != self.learning.enabled
        self.preferences = preferences
        self.store.autosave_seconds = preferences.autosave_seconds
        self.session.preferences = self.models.preferences = preferences
        if switched:
            self.learning.switched()
        self.models.refresh()

    def free_memory(self) -> None:
        """Give back the memory that no job needs."""
        if self.worker.busy:
            self.worker.submit(FreeMemoryJob())
        else:
            self.worker.stop_idle()

    def tick(self) -> None:
        """Look for edits without an event, and save; called some times a second."""
        if self.closed:
            return
        for control in (
            self.annotating,
            self.training,
            self.prediction,
            self.orphans,
            self.scale_bar,
            self.learning,
            self.store,
        ):
            control.tick()

    def close(self) -> None:
        """Write a checkpoint, end the worker and save the project; once."""
        if self.closed:
            return
        self.closed = True
        self.files.close()
        self._dissolve()
        self.worker.close()
        self._scratch.close()

    def _compose(self, store: ProjectStore) -> None:
        """Make what works with a project, each after what it uses."""
        self.store = store
        store.autosave_seconds = self.preferences.autosave_seconds
        self._make_session()
        self._make_controls()
        self._make_views()
        self._connect_controls()

    def _make_session(self) -> None:
        viewer, store = self.viewer, self.store
        self.sharing = SharedArrays(self.scratch, self._post)
        self.images = ImageList(viewer, store, self.sharing, self.files)
        self.annotating = Annotating(viewer, store, self.images, self._post)
        self.orphans = Orphans(viewer, store, self.images)
        self.session = Session(
            viewer,
            store,
            self.images,
            self.annotating,
            self.worker,
            self.scratch,
            self._post,
            self.preferences,
        )

    def _make_controls(self) -> None:
        session, store = self.session, self.store
        self.overlay = WeightOverlay(session)
        models = self.models = ModelList(store, self.preferences, pretrained_models())
        self.foreign_models = ForeignModels(session, models)
        self.suggesting = Suggesting(session, models)
        self.runs = RunList(store)
        prediction = PredictionControl(session, models, self.prediction_place)
        self.prediction = prediction
        self.editor = CellEditor(session, prediction)
        self.denoiser = Denoiser(session, models, prediction.targets)
        self.training = TrainingControl(session, self.place)
        self.learning = CorrectionLearning(session, models, prediction, self.training)

    def _make_views(self) -> None:
        images, training, prediction = self.images, self.training, self.prediction
        self.showing = Showing(
            self.viewer, images, prediction, training.preview, self.overlay
        )
        self.side_by_side = SideBySide(self.viewer, images)
        self.scale_bar = ScaleBar(self.viewer, images, self.side_by_side)
        self.guide = Guide(
            images, training, self.models, prediction, self.preferences.show_guide
        )

    def _connect_controls(self) -> None:
        # that pixels cannot be copied is reported by the control that needs them
        for source in (self.images, self.annotating, self.session, self.scale_bar):
            forward_signal(source.message, self.message)
        forward_signal(self.store.save_failed, self.message, "error")
        forward_signal(self.store.opening_notes, self.message, "warning")
        forward_signal(self.guide.skipped, self.guide_skipped)
        self.training.finished.connect(self._on_trained)
        self.runs.changed.connect(self.training.on_runs_renamed)
        self.training.preview.changed.connect(self._on_preview)
        self.annotating.earlier_work.found.connect(self._begin_annotation)
        self.orphans.back.connect(self.prediction.show_again)

    def _dissolve(self) -> None:
        """Close what `_compose` made, each before what it uses."""
        for control in (
            self.showing,
            self.guide,
            self.learning,
            self.scale_bar,
            self.side_by_side,
            self.training,
            self.denoiser,
            self.editor,
            self.prediction,
            self.foreign_models,
            self.overlay,
            self.suggesting,
            self.orphans,
            self.annotating,
            self.images,
            self.sharing,
            self.store,
        ):
            control.close()

    def _on_trained(self, saved: ModelSaved) -> None:
        self.runs.refresh()
        self.models.add(Path(saved.path))
        self.models.select(Path(saved.path))

    def _on_preview(self) -> None:
        # without previews there is room for what was predicted before
        if not self.training.preview.enabled:
            for results in self.prediction.results.values():
                if results.cells_layer.layer is not None:
                    results.claim()

    def _on_death(self, sentence: str, handles: tuple[Handle, ...]) -> None:
        self.prediction.forget_loaded_model()
        # a failure of another job is reported by the control that submitted it
        if all(handle.job.unattended for handle in handles):
            self.message.emit("error", sentence)
