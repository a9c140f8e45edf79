"""Corrections of what was predicted, learnt at once by the model in use.

The model itself stays as it is: what has learnt is a copy in the folder of the runs,
which takes its place with the first correction. While a network trains nothing is
learnt here: the training takes the corrections up by itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import CorrectionsLearnt
from napari_unet.core.geometry.boxes import union
from napari_unet.core.jobs import Correction, LearnJob
from napari_unet.core.text import counted
from napari_unet.io.model_file import SUFFIX
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.future import all_of
from napari_unet.session.learning.renewal import Renewal
from napari_unet.session.training.corrections import Corrections

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.jobs import Place
    from napari_unet.core.messages import Failed
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.models import ModelEntry, ModelList
    from napari_unet.session.prediction.control import PredictionControl
    from napari_unet.session.session import Session
    from napari_unet.session.training.control import TrainingControl
    from napari_unet.session.worker.client import Handle

# Planes or volumes that are read beside those that are corrected.
_BESIDE = 12
# Appended to the name of the model, for the copy that learns.
_COPY = " + corrections"


class CorrectionLearning:
    """Has the model in use take up what is corrected of its predictions.

    `count` is the number of corrections that the model in use has learnt since the
    project was opened; `status` is the current or last work, in a few words.
    """

    changed = Signal()
    """Switched on or off, or something was learnt or brought up to date."""

    def __init__(
        self,
        session: Session,
        models: ModelList,
        prediction: PredictionControl,
        training: TrainingControl,
    ) -> None:
        store, images = session.store, session.images
        self._session, self._store, self._images = session, store, images
        self._worker, self.message = session.worker, session.message
        self._models, self._prediction, self._training = models, prediction, training
        self.count = 0
        self.renewal = Renewal(session, models, prediction)
        self._ids: list[str] = []  # of the images, by their numbers in corrections
        self._strokes = Corrections(images, self._ids, 2, self._take)
        self._waiting: dict[tuple[str, Place], Correction] = {}
        self._sharing = False
        self._handle: Handle | None = None
        # the model that is corrected, the file of the copy that learns, and which of
        # the two is in use
        self._original: ModelEntry | None = None
        self._copy: Path | None = None
        self._in_use: Path | None = None
        # what the worker is ready for; and why a model cannot learn, by its file
        self._ready: set[tuple[Path, str]] = set()
        self._refused: dict[Path, str] = {}
        self._connections = (
            (session.annotating.edited, self._on_edited),
            (store.replaced, self._on_replaced),
            (models.selected_changed, self._on_selected),
        )
        for signal, slot in self._connections:
            signal.connect(slot)
        forward_signal(self.renewal.changed, self.changed)

    @property
    def enabled(self) -> bool:
        """Whether corrections are learnt at once."""
        return self._session.preferences.learn_corrections

    @property
    def problem(self) -> str:
        """Why the model in use cannot learn corrections; empty if it can."""
        entry = self._models.entry
        if entry is None:
            return ""
        return entry.card.refusal_of_corrections or self._refused.get(entry.path, "")

    @property
    def busy(self) -> bool:
        """Whether a correction is to be learnt, or what is in view to be renewed."""
        learns = self._handle is not None or self._sharing or bool(self._waiting)
        return learns or self.renewal.running

    @property
    def status(self) -> str:
        """The current work, or what was learnt; empty if nothing was."""
        if self._handle is not None and self._corrected(self._handle):
            return "Learning the correction …"
        if self.count == 0 or self._models.selected != self._copy:
            return ""
        learnt = f"{counted(self.count, 'correction')} taken up"
        if self.renewal.running:
            return f"{learnt}; predicting what is in view …"
        older = self.renewal.older
        if not older:
            return f"{learnt}; what is in view is up to date."
        others = counted(older, "other slice is", "other slices are")
        return f"{learnt}; {others} from before, until seen."

    def switched(self) -> None:
        """Follow the preferences; what waits is dropped if learning is switched off."""
        if not self.enabled:
            self._waiting.clear()
        self._prediction.segmenter.find_again()
        self.changed.emit()

    def tick(self) -> None:
        """Send what was painted, and look at what is in view; some times a second."""
        self._strokes.send_due()
        self._get_ready()
        if self.enabled:
            self.renewal.look()

    def close(self) -> None:
        """Stop following project and viewer; the copy that has learnt stays."""
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._strokes.close()
        self.renewal.close()
        if self._handle is not None and self._handle.running:
            self._handle.cancel()

    def _on_edited(self, image_id: str, edit: Edit) -> None:
        if self._learns(image_id, edit.t, edit.z):
            self._strokes.add(image_id, edit)

    def _on_replaced(self, image_id: str) -> None:
        """All of an annotation changed at once: an import, or a step undone."""
        for t, z in self.renewal.predicted(image_id):
            if self._learns(image_id, t, z or 0):
                self._strokes.add_plane(image_id, t, z)

    def _learns(self, image_id: str, t: int, z: int) -> bool:
        """Whether an edit of a plane corrects what the model in use has predicted."""
        entry = self._models.entry
        if not self.enabled or entry is None or self.problem:
            return False
        if self._training.state != "idle":
            return False
        self._strokes.ndim = entry.card.training.ndim
        if image_id not in self._ids:
            self._ids.append(image_id)
        place = (t, z if entry.card.training.ndim == 2 else None)
        return place in self.renewal.predicted(image_id)

    def _on_selected(self) -> None:
        """Start anew with another model: what waits does not correct it.

        A copy that has learnt is not overwritten if its original is chosen again.
        """
        if self._models.selected != self._in_use:
            self._waiting.clear()
            self._original = self._copy = None
            self._in_use, self.count = self._models.selected, 0
        self.changed.emit()

    def _take(self, correction: Correction) -> None:
        """Show a finished stroke, and learn it with the others that wait."""
        id_, place = self._ids[correction.image], (correction.t, correction.z)
        results = self._prediction.results.get(id_)
        if results is not None:
            self._prediction.segmenter.edited(results, place, again=True)
        before = self._waiting.get((id_, place))
        if before is not None:
            both = before.box and correction.box
            box = union(before.box, correction.box) if both else None  # type: ignore[arg-type]
            correction = replace(correction, box=box)
        self._waiting[id_, place] = correction
        self._begin()

    def _get_ready(self) -> None:
        """Have the worker load what learning needs, before the first stroke."""
        entry, image = self._models.entry, self._images.current
        if entry is None or image is None or not self.enabled or self.problem:
            return
        key = entry.path, image.id
        if key in self._ready or self._handle is not None or self._worker.busy:
            return
        if self._training.state == "idle" and self.renewal.predicted(image.id):
            self._ready.add(key)
            self._begin(getting_ready=True)

    def _begin(self, *, getting_ready: bool = False) -> None:
        """Have the pixels shared of all that is learnt from, then submit."""
        entry = self._models.entry
        if entry is None or self._handle is not None or self._sharing:
            return
        if not (self._waiting or getting_ready):
            return
        fields = self._fields(entry)
        if not fields:
            self._waiting.clear()  # of images that were closed meanwhile
            return
        self._sharing = True
        share = self._images.share_frames
        all_of(
            [
                share(id_, sorted({t for t, _ in places}))
                for id_, places in fields.items()
            ]
        ).then(partial(self._submit, entry, fields), self._give_up)

    def _fields(self, entry: ModelEntry) -> dict[str, list[Place]]:
        """List what is learnt from: corrections, and other annotated fields.

        Also some that were predicted and not annotated: there nothing is to change.
        """
        ndim, channels = entry.card.training.ndim, entry.card.architecture.channels
        found: dict[str, list[Place]] = {}
        for id_, place in self._waiting:
            if self._images.layers(id_):
                found.setdefault(id_, []).append(place)
        corrected = {id_: list(places) for id_, places in found.items()}
        beside: list[tuple[str, Place]] = []
        for image in self._store.project.images:
            if image.channels != channels or not self._images.layers(image.id):
                continue
            planes = self._images.places(image.id) if image.use_for_training else ()
            annotated = [(t, z if ndim == 2 else None) for t, z in planes]
            predicted = self.renewal.predicted(image.id)
            own = dict.fromkeys([*annotated, *predicted])
            known = corrected.get(image.id, [])
            beside += [(image.id, place) for place in own if place not in known]
        for number in range(min(len(beside), _BESIDE)):
            # some of all, whatever their number
            id_, place = beside[number * len(beside) // min(len(beside), _BESIDE)]
            found.setdefault(id_, []).append(place)
        return found

    def _submit(self, entry: ModelEntry, fields: dict[str, list[Place]]) -> None:
        self._sharing = False
        if entry is not self._models.entry:
            self._begin()
            return
        ids = list(fields)
        taken = {
            (id_, place): replace(correction, image=ids.index(id_))
            for (id_, place), correction in self._waiting.items()
            if place in fields.get(id_, ())
        }
        if self._original is None or self._copy is None:
            self._original, self._in_use = entry, entry.path
            self._copy = unused(self._store.run_folder, entry.path)
        try:
            job = LearnJob(
                model=str(entry.path),
                output=str(self._copy),
                images=tuple(self._images.reference(id_) for id_ in ids),
                annotations=tuple(self._images.annotation_reference(i) for i in ids),
                places=tuple(tuple(places) for places in fields.values()),
                corrections=tuple(taken.values()),
                segmentation=self._prediction.segmentation,
                learnt=self.count,
                device=self._session.preferences.device,
            )
        except (KeyError, ValueError) as error:
            self._give_up(str(error))
            return
        for key in taken:
            del self._waiting[key]
        self._handle = handle = self._worker.submit(job)
        handle.event.connect(self._on_event)
        handle.ended.connect(self._on_ended)
        handle.failed.connect(partial(self._on_failed, entry, handle))
        if taken:
            # its tiles, by the model as it was, would replace newer ones
            self.renewal.stop()
        self.changed.emit()

    def _give_up(self, why: str) -> None:
        self._sharing = False
        self._waiting.clear()
        self.message.emit("warning", f"The correction was not learnt at once: {why}")

    def _on_event(self, event: object) -> None:
        if not isinstance(event, CorrectionsLearnt):
            return
        original, copy = self._original, self._copy
        if original is None or copy is None or event.path != str(copy):
            return  # another model was chosen meanwhile
        if self.count == 0 and event.count:
            self.message.emit(
                "info",
                f"Corrections are learnt by a copy, {copy.name.removesuffix(SUFFIX)}; "
                f"{original.card.name} stays as it is.",
            )
        self.count = event.count
        self._adopt(copy if event.count else original.path)

    def _adopt(self, path: Path) -> None:
        """Use the model that has learnt, with the present settings and results."""
        before, self._in_use = self._models.entry, path
        if before is None:
            return
        try:
            self._prediction.use_instead(before, path)
        except ValueError as error:
            self.message.emit("error", str(error))
            return
        self._ready |= {(path, id_) for p, id_ in self._ready if p == before.path}
        self.renewal.look()

    def _on_ended(self, _cancelled: bool) -> None:
        self._handle = None
        self._begin()
        self.changed.emit()

    def _on_failed(self, entry: ModelEntry, handle: Handle, failed: Failed) -> None:
        self._handle = None
        if failed.error == "ValueError":
            # otherwise each stroke would report it again
            self._refused[entry.path] = failed.sentence
        if self._corrected(handle):
            self._give_up(failed.sentence)
        self.changed.emit()

    def _corrected(self, handle: Handle) -> bool:
        """Whether a job learns something, and does not only get ready."""
        return isinstance(handle.job, LearnJob) and bool(handle.job.corrections)


def unused(folder: Path, model: Path) -> Path:
    """Return a file that is not there yet, for the copy of a model that learns."""
    stem = model.name.removesuffix(SUFFIX).partition(_COPY)[0] + _COPY
    names = (stem, *(f"{stem} {number}" for number in range(2, 10_000)))
    files = (folder / f"{name}{SUFFIX}" for name in names)
    return next(file for file in files if not file.exists())
