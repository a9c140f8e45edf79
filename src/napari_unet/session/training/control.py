"""Training a network on the project's annotation, as the docks see it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_unet.core import events
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.training.active_run import ActiveRun, ActiveRunView
from napari_unet.session.training.preview import LivePreview
from napari_unet.session.training.run_record import RunRecord
from napari_unet.session.training.training_data import TrainingData
from napari_unet.session.training.training_plan import TrainingPlan
from napari_unet.session.worker.client import WORKER_ENDED

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_unet.core.messages import Failed
    from napari_unet.core.training.training_settings import Training
    from napari_unet.session.annotating.control import Annotating
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.preferences import Preferences
    from napari_unet.session.project.record import Project
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Worker

State = Literal["idle", "starting", "training", "paused", "stopping"]

# Seconds between two signals of progress: more often nobody can read.
_PACE = 0.4
_REMOVED = "An image to train on was removed from the project."
# Seconds that may go into counting what is not counted when Train is pressed.
_COUNTING = 0.1


class TrainingControl(TrainingPlan, ActiveRunView):
    """Starts, watches and ends training runs.

    Parameters
    ----------
    viewer : ViewerModel
    store : ProjectStore
    images : ImageList
    annotating : Annotating
    worker : Worker
    scratch : Path
        Folder for the pixels of the live preview.
    preferences : Preferences

    Attributes
    ----------
    state : {"idle", "starting", "training", "paused", "stopping"}
    preview : LivePreview
    training_data : TrainingData
        What is annotated in the ticked images.
    """

    changed = Signal()
    """State, progress or what can be started; at most ten times per second."""
    curve_changed = Signal()
    preview_changed = Signal()
    began = Signal()
    finished = Signal(object)
    """A `ModelSaved`; the state is idle by then."""
    message = Signal(str, str)
    """A level (info, warning, error) and a sentence."""

    def __init__(
        self,
        viewer: ViewerModel,
        store: ProjectStore,
        images: ImageList,
        annotating: Annotating,
        worker: Worker,
        scratch: Path,
        preferences: Preferences,
    ) -> None:
        super().__init__(store, images, TrainingData(store, images, annotating))
        self._annotating, self._worker = annotating, worker
        self.preferences = preferences
        self.state: State = "idle"
        self.preview = LivePreview(viewer, images, worker, scratch, preferences)
        # told with the first tick: nobody listens yet
        self._remarks: list[str] = []
        self._record = RunRecord.read(store.run_folder, self._remarks.append)
        self._told, self._untold, self._closed = 0.0, False, False
        annotating.edited.connect(self._on_edit)
        store.replaced.connect(self._on_replaced)
        store.changed.connect(self._on_project)
        forward_signal(images.changed, self.changed)
        forward_signal(self.training_data.changed, self.changed)
        forward_signal(self.preview.changed, self.preview_changed)
        forward_signal(self.preview.message, self.message)

    @property
    def preview_enabled(self) -> bool:
        """Whether the slice in view is predicted while training goes on."""
        return self.preview.enabled

    def set_preview_enabled(self, enabled: bool) -> None:
        """Switch the live preview on or off."""
        self.preview.set_enabled(enabled)

    @property
    def can_start(self) -> tuple[bool, str]:
        """Whether training can start, and if not, why and what to do."""
        if self.state != "idle":
            return False, "A network is being trained."
        problem = self._problem_of(self._next)
        return not problem, problem

    @property
    def resumable(self) -> Path | None:
        """Checkpoint of the run that was interrupted, with which `start` goes on."""
        if self._record is None or self.state != "idle":
            return None
        path = self._record.checkpoint(self._store.run_folder)
        return path if path.exists() else None

    @property
    def interrupted(self) -> RunRecord | None:
        """What is known of the run that can go on."""
        return self._record if self.resumable else None

    @property
    def goes_on(self) -> bool:
        """Whether `start` goes on with the interrupted run, with its own settings.

        Not if other images are ticked: then it begins a new one.
        """
        return self._next is not None and self.resumable is not None

    @property
    def planned(self) -> Training:
        """Settings of the run that `start` begins or goes on with."""
        record = self._next
        return record.settings if record is not None and self.goes_on else self.settings

    @property
    def _next(self) -> RunRecord | None:
        """The run that did not come to its end, if it is of the ticked images."""
        record = self._record
        if record is None or not self.is_of_these_images(record):
            return None
        return record

    def _problem_of(self, record: RunRecord | None) -> str:
        return self.problem() if record is None else self.problem_to_resume(record)

    def forget_interrupted(self) -> None:
        """Do not go on with the interrupted run; the next one is new."""
        if self._record is not None and self.state == "idle":
            self._discard(self._record)
            # one that was interrupted before it is offered again
            self._record = RunRecord.read(
                self._store.run_folder, lambda told: self.message.emit("warning", told)
            )
            self.changed.emit()

    def start(self) -> None:
        """Train, or go on with the run that was interrupted on the ticked images."""
        self._start(self._next)

    def go_on(self) -> None:
        """Go on with the run that was interrupted, whichever images are ticked."""
        self._start(self.interrupted)

    def _start(self, before: RunRecord | None) -> None:
        if self.state != "idle":
            return
        self.training_data.count_all(_COUNTING)
        problem = self._problem_of(before)
        if problem:
            self.message.emit("warning", problem)
            return
        resume = before is not None and self.resumable is not None
        record = before or self.record()
        run = ActiveRun(
            record, self._images, self.training_data, self._store.project, resume=resume
        )
        self._active_run = run
        forward_signal(run.corrections.failed, self.message, "warning")
        self._enter("starting")
        self.curve_changed.emit()
        try:
            run.when_ready(lambda: self._submit(run), self._give_up)
        except KeyError:
            self._give_up(_REMOVED)
        except (ValueError, OSError) as error:
            self._give_up(str(error))

    def pause(self) -> None:
        """Take no more steps until told to."""
        if self.state == "training" and self._active_run and self._active_run.handle:
            self._active_run.handle.pause()
            self._enter("paused")

    def resume(self) -> None:
        """Go on after a pause."""
        if self.state == "paused" and self._active_run and self._active_run.handle:
            self._active_run.handle.resume()
            self._enter("training")

    def stop(self) -> None:
        """End the run now; what it learnt so far is kept as a model."""
        run = self._active_run
        if run is None or self.state in ("idle", "stopping"):
            return
        if run.handle is None:
            self._end()
        elif self.loss is None and not run.resumed:
            # nothing was learnt: there is no model to save
            run.handle.cancel()
            self._enter("stopping")
        else:
            run.handle.finish()
            self._enter("stopping")

    def tick(self) -> None:
        """Send corrections, look at what is in view; called a few times a second."""
        if self._closed:
            return
        while self._remarks:
            self.message.emit("warning", self._remarks.pop(0))
        if self._active_run is not None:
            self._active_run.corrections.look()
        self.preview.look()
        if self._untold and monotonic() - self._told >= _PACE:
            self._tell()

    def close(self) -> None:
        """Let go of project and viewer; the worker's end writes the checkpoint."""
        if self._closed:
            return
        self._closed = True
        if self._active_run is not None:
            self._active_run.close()
        self._annotating.edited.disconnect(self._on_edit)
        self._store.replaced.disconnect(self._on_replaced)
        self._store.changed.disconnect(self._on_project)
        self.preview.close()
        self.training_data.close()

    def _submit(self, run: ActiveRun) -> None:
        """Hand the run to the worker, once all pixels are where it can read them."""
        if run is not self._active_run or self.state != "starting" or self._closed:
            return
        folder = self._store.run_folder
        try:
            job = run.job(folder, self.preferences.device)
            run.record.write(folder)
        except KeyError:
            self._give_up(_REMOVED)
            return
        except (ValueError, OSError) as error:
            self._give_up(str(error))
            return
        self._record = run.record
        self._store.flush()
        run.happened.connect(self._on_event)
        handle = run.submit(self._worker, job)
        handle.ended.connect(self._on_ended)
        handle.failed.connect(self._on_failed)
        self._follow_with_preview(run)
        self.began.emit()

    def _on_event(self, event: object) -> None:
        if self._closed:
            return
        if isinstance(event, events.StepDone):
            self.preview.step()
            self._tell_soon()
        elif isinstance(event, events.ValidationDone):
            self.curve_changed.emit()
        elif isinstance(event, events.TrainingStarted) and self.state == "starting":
            self._enter("training")
        elif isinstance(event, events.Judging):
            self._tell()

    def _follow_with_preview(self, run: ActiveRun) -> None:
        project, record = self._store.project, run.record
        self.preview.begin(
            project.classes[: record.classes],
            ndim=record.settings.ndim,
            channels=project.image(record.images[0]).channels,
            trained=run.resumed or record.start is not None,
        )

    def _on_ended(self, cancelled: bool) -> None:
        """The job is over: with a model, or cancelled with a checkpoint."""
        run = self._active_run
        saved = run.saved if run else None
        if self._closed or run is None or saved is None:
            self._end()
            return
        self._discard(run.record)
        self._record = None
        self._end(Path(saved.path))
        if saved.problem:
            self.message.emit("warning", saved.problem)
        self.finished.emit(saved)

    def _on_failed(self, failed: Failed) -> None:
        if failed.out_of_memory or failed.error == WORKER_ENDED:
            self._interrupted(out_of_memory=failed.out_of_memory)
        else:
            self._give_up(failed.sentence)

    def _give_up(self, why: str) -> None:
        """Be idle again, and say why; what was learnt so far is kept."""
        if self.state == "idle":
            return
        self._end()
        if self.resumable is not None:
            why += (
                " Press Train to go on from the last checkpoint, or start anew in the "
                "Train dock."
            )
        self.message.emit("error", why)

    def _interrupted(self, *, out_of_memory: bool) -> None:
        """Say in one message what happened and what to do."""
        record = self._active_run.record if self._active_run else None
        self._end()
        what = "The training process was ended"
        told = "go on from the last checkpoint" if self.resumable else "begin again"
        if out_of_memory and record is not None:
            what, told = "Memory ran out", f"{told}, with smaller patches"
            # kept also without a checkpoint: the same patches would fail again
            self._record = record.smaller()
            self._record.write(self._store.run_folder)
            self._tell()
        self.message.emit("error", f"{what}: press Train to {told}.")

    def set(self, **changes: Training | str | None) -> bool:
        """Change settings; others than those that failed are tried as they are."""
        changed = super().set(**changes)
        if changed and self.resumable is None and self.state == "idle":
            self._record = None
        return changed

    def _discard(self, record: RunRecord) -> None:
        """Forget a run; its files are in nobody's way where they cannot be removed."""
        try:
            record.remove(self._store.run_folder)
        except OSError as error:
            self.message.emit("warning", f"{error.filename}: cannot be removed.")

    def _end(self, model: Path | None = None) -> None:
        """Be idle again."""
        if self._active_run is not None:
            self._active_run.close()
        # without a checkpoint there is nothing to go on with
        self._record = RunRecord.read(
            self._store.run_folder, lambda told: self.message.emit("warning", told)
        )
        if not self._closed:
            self.preview.finish(model)
        self._enter("idle")
        self.curve_changed.emit()

    def _enter(self, state: State) -> None:
        self.state = state
        self._tell()

    def _tell_soon(self) -> None:
        """Tell of progress, but not too often."""
        self._untold = True
        if monotonic() - self._told >= _PACE:
            self._tell()

    def _tell(self) -> None:
        self._told, untold = monotonic(), self._untold
        self._untold = False
        self.changed.emit()
        if untold:
            self.curve_changed.emit()

    def _on_edit(self, image_id: str, edit: Edit) -> None:
        if self._active_run is not None and self.state != "idle":
            self._active_run.corrections.add(image_id, edit)

    def _on_replaced(self, image_id: str) -> None:
        if self._active_run is not None and self.state != "idle":
            self._active_run.replaced(image_id)

    def _on_project(self, project: Project) -> None:
        if self._active_run is not None and self.state != "idle":
            told = self._active_run.follow(project)
            if told:
                self.message.emit("info", told)
        self.changed.emit()
