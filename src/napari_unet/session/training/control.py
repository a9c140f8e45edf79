"""Training a network on the project's annotation, as the docks see it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_unet.core import events
from napari_unet.session.compute_place import ComputePlace
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.throttle import Throttle
from napari_unet.session.training.active_run import ActiveRun
from napari_unet.session.training.automatic import Automatic
from napari_unet.session.training.network_offers import NetworkOffers
from napari_unet.session.training.preview import LivePreview
from napari_unet.session.training.run_progress import RunProgress
from napari_unet.session.training.training_data import TrainingData
from napari_unet.session.training.training_plan import TrainingPlan
from napari_unet.session.worker.client import WORKER_ENDED

if TYPE_CHECKING:
    from napari_unet.core.messages import Failed
    from napari_unet.session.session import Session
    from napari_unet.session.training.run_record import RunRecord

State = Literal["idle", "starting", "training", "paused", "stopping"]

# Seconds between two signals of progress: nobody can read faster.
_PACE = 0.4
# Seconds that may go into counting what is not counted when Train is pressed.
_COUNTING = 0.1


class TrainingControl:
    """Starts, watches and ends training runs.

    `plan` is what `start` does, `automatic` plans settings that are to be planned, and
    `place` is where the next run trains. `run` is the one in training, or the last;
    `progress` is that of `run`, empty before the first.
    """

    changed = Signal()
    """State, progress or what can be started; progress at most some times a second."""
    curve_changed = Signal()
    began = Signal()
    finished = Signal(object)
    """A `ModelSaved`; the state is idle by then."""

    def __init__(self, session: Session, place: ComputePlace | None = None) -> None:
        self.place = place or ComputePlace()
        self._session, self.message = session, session.message
        self._store, self._images = session.store, session.images
        self.state: State = "idle"
        # emitted with the next tick: nobody listens yet
        self._warnings: list[str] = []
        data = self.training_data = TrainingData(session)
        self.automatic = Automatic(session, data)
        self.plan = TrainingPlan(
            session, data, self.automatic, self._warnings.append, self.place
        )
        self.offers = NetworkOffers(session, data)
        self.preview = LivePreview(session)
        self.run: ActiveRun | None = None
        self.progress = RunProgress()
        self._pace = Throttle(_PACE)
        # whether Train was pressed and waits for a plan
        self._waits_for_plan = False
        self._steps_unseen = self._closed = False
        for source in (self._store.changed, self._images.changed, data.changed):
            source.connect(self._on_changed)
        self.automatic.changed.connect(self._on_planned)
        self.automatic.failed.connect(self._on_not_planned)

    @property
    def can_start(self) -> tuple[bool, str]:
        """Whether training can start, and if not, why and what to do."""
        if self.state != "idle":
            return False, "A network is being trained."
        problem = self.plan.problem(self.plan.repeated)
        return not problem, problem

    def on_runs_renamed(self) -> None:
        """Read again what the interrupted run started from, if there is such a run."""
        if self.plan.unfinished is not None:
            self.plan.read_unfinished()

    def forget_interrupted(self) -> None:
        """Do not go on with the interrupted run; the next one is new."""
        if self.plan.unfinished is not None:
            self._discard(self.plan.unfinished)
            # one that was interrupted before it is offered again
            self.plan.read_unfinished()
            self.changed.emit()

    def start(self) -> None:
        """Train, or go on with the run that was interrupted on the ticked images."""
        self._start(self.plan.repeated)

    def go_on(self) -> None:
        """Go on with the run that was interrupted, whichever images are ticked."""
        self._start(self.plan.interrupted)

    def _start(self, before: RunRecord | None) -> None:
        if self.state != "idle":
            return
        self._session.annotating.object_index.update_all(_COUNTING)
        problem = self.plan.problem(before)
        if problem:
            self.message.emit("warning", problem)
            return
        if before is None and self.plan.needs_planning:
            self.run, self.progress = None, RunProgress()
            self._waits_for_plan = True
            self._enter("starting")
            self.plan.ask_for_plan()
        else:
            self._begin(before)

    def _begin(self, before: RunRecord | None) -> None:
        self.offers.close()
        run = self.run = ActiveRun(
            before or self.plan.new_record(),
            self._session,
            self.training_data,
            resume=before is not None and self.plan.checkpoint is not None,
        )
        self.progress, self.plan.unfinished = run.progress, None
        forward_signal(run.corrections.failed, self.message, "warning")
        self._enter("starting")
        self.curve_changed.emit()
        run.share_pixels().then(lambda: self._submit(run), self._give_up)

    def pause(self) -> None:
        """Take no more steps until `resume`."""
        if self.state == "training" and self.run and self.run.handle:
            self.run.handle.pause()
            self._enter("paused")

    def resume(self) -> None:
        """Go on after a pause."""
        if self.state == "paused" and self.run and self.run.handle:
            self.run.handle.resume()
            self._enter("training")

    def stop(self) -> None:
        """End the run now; what it learnt so far is kept as a model."""
        run = self.run
        if self._waits_for_plan:
            self._waits_for_plan = False
            self.automatic.cancel()
            self._end()
        if run is None or self.state in ("idle", "stopping"):
            return
        if run.handle is None:
            self._end()
        elif not self.progress.learnt and not run.resumed:
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
        while self._warnings:
            self.message.emit("warning", self._warnings.pop(0))
        # what is painted during a pause is one correction at its end
        if self.run is not None and self.state != "paused":
            self.run.corrections.send_due()
        self.preview.predict_if_due()
        if self._steps_unseen and self._pace.due:
            self._emit_changed()

    def close(self) -> None:
        """Stop following project and viewer; the worker still writes a checkpoint."""
        if self._closed:
            return
        self._closed = True
        if self.run is not None:
            self.run.close()
        self._store.changed.disconnect(self._on_changed)
        self.preview.close()
        self.offers.close()
        self.automatic.close()
        self.training_data.close()

    def _on_planned(self) -> None:
        if self._waits_for_plan and not self.automatic.planning:
            self._waits_for_plan = False
            # while it was planned, images may have been left out
            if problem := self.plan.problem(None):
                self._give_up(problem)
            else:
                self._begin(None)
        self._on_changed()

    def _on_not_planned(self, why: str) -> None:
        if self._waits_for_plan:
            self._waits_for_plan = False
            self._give_up(why)

    def _submit(self, run: ActiveRun) -> None:
        """Hand the run to the worker, once all pixels are where it can read them."""
        if run is not self.run or self.state != "starting" or self._closed:
            return
        device = self._session.preferences.device
        try:
            self._store.flush()
            handle = run.submit(self._store.run_folder, device)
        except KeyError:
            self._give_up("An image to train on was removed from the project.")
            return
        except (ValueError, OSError) as error:
            self._give_up(str(error))
            return
        handle.event.connect(self._on_event)
        handle.ended.connect(self._on_ended)
        handle.failed.connect(self._on_failed)
        self._show_preview(run, resumed=run.resumed)
        self.began.emit()

    def _show_preview(self, run: ActiveRun, *, resumed: bool = False) -> None:
        """Have the preview follow a network from its beginning."""
        project, record = self._store.project, run.record
        with suppress(KeyError):  # its image was removed meanwhile
            self.preview.begin(
                project.classes[: record.classes],
                ndim=run.ndim,
                channels=project.image(record.images[0]).channels,
                trained=resumed or record.start is not None,
            )
            if record.far is not None:
                # its weights come now and then
                self.preview.finish(None)

    def _on_event(self, event: object) -> None:
        """Show an event; the run knows of it already, it listens first."""
        if self._closed:
            return
        if isinstance(event, events.StepDone):
            self._on_step()
        elif isinstance(event, events.ValidationDone):
            self.curve_changed.emit()
        elif isinstance(event, events.TrainingStarted):
            if self.state == "starting":
                self._enter("training")
            elif self.run is not None:
                # the next of several networks
                self._show_preview(self.run)
                self.curve_changed.emit()
        elif isinstance(event, events.Judging):
            self._emit_changed()
        elif isinstance(event, events.CheckpointWritten) and self._is_remote:
            # the weights so far came with it
            self.preview.finish(event.path)

    def _on_step(self) -> None:
        self.preview.step()
        self._steps_unseen = True
        if self._pace.due:
            self._emit_changed()

    @property
    def _is_remote(self) -> bool:
        """Whether the run is on another computer."""
        return self.run is not None and self.run.record.far is not None

    def _on_ended(self, cancelled: bool) -> None:
        """The job is over: with a model, or cancelled with a checkpoint."""
        saved = self.progress.saved
        if self._closed or self.run is None or saved is None:
            self._end()
            return
        self._discard(self.run.record)
        self._end(Path(saved.path))
        if saved.problem:
            self.message.emit("warning", saved.problem)
        self.finished.emit(saved)

    def _on_failed(self, failed: Failed) -> None:
        if failed.out_of_memory or failed.error == WORKER_ENDED:
            self._interrupt(out_of_memory=failed.out_of_memory)
        else:
            self._give_up(failed.sentence)

    def _give_up(self, why: str) -> None:
        """Be idle again, and say why; what was learnt so far is kept."""
        if self.state == "idle":
            return
        self._end()
        if self.plan.checkpoint is not None:
            why += (
                " Press Train to go on from the last checkpoint, or start over in the "
                "Train dock."
            )
        self.message.emit("error", why)

    def _interrupt(self, *, out_of_memory: bool) -> None:
        """Be idle again, and say in one message what happened and what to do."""
        self._end()
        what = "The training process was ended"
        kept = self.plan.checkpoint is not None
        remedy = "go on from the last checkpoint" if kept else "start over"
        if out_of_memory and self.run is not None:
            what, remedy = "Memory ran out", f"{remedy}, with smaller patches"
            # kept also without a checkpoint: the same patches would fail again
            self.plan.unfinished = self.run.record.smaller()
            self.plan.unfinished.write(self._store.run_folder)
            self._emit_changed()
        self.message.emit("error", f"{what}: press Train to {remedy}.")

    def _discard(self, record: RunRecord) -> None:
        """Delete the record of a run; one that cannot be deleted does no harm."""
        try:
            record.remove(self._store.run_folder)
        except OSError as error:
            self.message.emit("warning", f"{error.filename}: cannot be removed.")

    def _end(self, model: Path | None = None) -> None:
        """Be idle again."""
        if self.run is not None:
            self.run.close()
        self.plan.read_unfinished()
        if not self._closed:
            self.preview.finish(model)
        self._enter("idle")
        self.curve_changed.emit()

    def _enter(self, state: State) -> None:
        self.state = state
        self._emit_changed()

    def _on_changed(self) -> None:
        self.changed.emit()

    def _emit_changed(self) -> None:
        self._pace.restart()
        steps, self._steps_unseen = self._steps_unseen, False
        self.changed.emit()
        if steps:
            self.curve_changed.emit()
