"""Five steps from an image to files, for those who do it for the first time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_unet.session.annotating.shortcuts import key_of

if TYPE_CHECKING:
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.models import ModelList
    from napari_unet.session.prediction.control import PredictionControl
    from napari_unet.session.training.control import TrainingControl


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, and in which dock; `how` is a sentence or two."""

    title: str
    how: str
    dock: Literal["Annotate", "Train", "Predict"]


STEPS = (
    Step(
        "Open an image",
        "Drop an image file on napari, or take one of File > Open Sample > U-Net.",
        "Annotate",
    ),
    Step(
        "Paint a few cells",
        f"Each with its own colour ({key_of('brush.next_cell')} is the next cell), and "
        f"some background around them ({key_of('brush.background')}). Or press Predict "
        "in the Predict dock: "
        "a ready-made model may do.",
        "Annotate",
    ),
    Step(
        "Train",
        "Press Train. A minute is enough for a first result; masks appear while it "
        "learns, and what you correct is learnt too.",
        "Train",
    ),
    Step(
        "Predict",
        "Choose how much, and press Predict. Then move the threshold: it acts at once.",
        "Predict",
    ),
    Step(
        "Export",
        "Correct what is wrong and train again, or press Export… for masks and a "
        "table of measurements.",
        "Predict",
    ),
)

# In place of those with these numbers, for a model that has no cells.
_WITHOUT_CELLS = {
    3: Step(
        "Predict",
        "Choose how much, and press Predict. The model finds no single cells, so there "
        "is no threshold to move.",
        "Predict",
    ),
    4: Step(
        "Export",
        "Correct what is wrong and train again, or press Export… for what was found.",
        "Predict",
    ),
}

# In place of the first, where a layer is open that nobody has added.
_ADD = Step(
    "Add the image",
    "Press Add image… in the Annotate dock. Or press Predict in the Predict dock: a "
    "ready-made model may do.",
    "Annotate",
)


class Guide:
    """Finds out which step comes next from what is there.

    What counts is what was done, not what was pressed: with a model at hand, nobody is
    told to paint.
    """

    changed = Signal()
    """Another step comes next, or the guide was shown or hidden."""
    skipped = Signal()
    """The user does not want to see it any more."""

    def __init__(
        self,
        images: ImageList,
        training: TrainingControl,
        models: ModelList,
        prediction: PredictionControl,
        shown: bool,
    ) -> None:
        self._images, self._training = images, training
        self._models, self._prediction = models, prediction
        self.shown = shown
        # after the first export the guide is over, whatever comes later
        self._finished = False
        self.number = 0
        # what comes next; None if all is done
        self.step: Step | None = None
        self._find_step()
        self._signals = (
            images.changed,
            training.changed,
            models.changed,
            models.selected_changed,
            prediction.changed,
            prediction.exporter.changed,
        )
        for signal in self._signals:
            signal.connect(self._look)

    def set_shown(self, shown: bool) -> None:
        """Show or hide it."""
        if shown != self.shown:
            self.shown = shown
            self.changed.emit()

    def skip(self) -> None:
        """Hide it, now and in the future."""
        self.set_shown(False)
        self.skipped.emit()

    def close(self) -> None:
        """Stop following the controls."""
        for signal in self._signals:
            signal.disconnect(self._look)

    def _look(self, *_: object) -> None:
        before = self.step
        self._find_step()
        if self.step is not before:
            self.changed.emit()

    def _find_step(self) -> None:
        self.number = self._next()
        self.step = STEPS[self.number] if self.number < len(STEPS) else None
        card = self._models.card
        if self.number == 0 and self._images.candidates():
            self.step = _ADD
        elif card is not None and not card.cell_classes:
            self.step = _WITHOUT_CELLS.get(self.number, self.step)

    def _next(self) -> int:
        """Return the number of the step after the last that is done."""
        results = self._prediction.results
        opened = self._images.current is not None
        self._finished |= (
            any(one.made for one in results.values())
            and not self._prediction.busy
            and not self._prediction.unexported()
        )
        done = (
            opened,
            opened and (self._training.can_start[0] or self._training.state != "idle"),
            opened and bool(self._models.own),
            bool(results),
            self._finished,
        )
        return max((n + 1 for n, so in enumerate(done) if so), default=0)
