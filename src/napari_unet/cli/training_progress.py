"""The progress of a training on the command line, and the summary at its end."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari_unet.cli.progress import ProgressLine, interruptible
from napari_unet.core.text import counted, duration

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_unet.core.events import Event, TrainingFinished


def follow(job: Any, line: ProgressLine, notes: Sequence[str] = ()) -> TrainingFinished:
    """Run a training job to its end and show its progress.

    The notes are shown once it has begun: if it is refused, only the error is shown.
    """
    from napari_unet.core import events

    last: Event | None = None
    shown = set[str]()
    with closing(follow_events(job, line, notes, shown)) as watched:
        for event in watched:
            last = event
    if not isinstance(last, events.TrainingFinished):
        raise RuntimeError("training ended without a result")
    card = last.model.card
    kept = [card.share_in_words] if card.learnt_share < 1 else []
    _show_new(line, (*card.notes, *map(str, card.training.decisions), *kept), shown)
    return last


def follow_events(
    job: Any,
    line: ProgressLine,
    notes: Sequence[str] = (),
    shown: set[str] | None = None,
) -> Generator[Event, None, None]:
    """Show the progress of a training and pass its events on.

    Notes in `shown` are not shown again; those that are shown are added to it.
    """
    from napari_unet.core import events

    score, shown = "", set() if shown is None else shown
    with interruptible(job) as running:
        for number, event in enumerate(running):
            if not number:
                for note in notes:
                    line.say(note)
            if isinstance(event, events.TrainingStarted):
                line.say(
                    f"training on {event.device} in {event.precision}; "
                    f"{event.validation}."
                )
                _show_new(line, (*event.notes, *map(str, event.decisions)), shown)
            elif isinstance(event, events.StepDone):
                text = f"step {event.step}  loss {event.loss:.3f}{score}"
                line.show(text, event.progress, event.seconds_left)
            elif isinstance(event, events.Judging):
                line.show("judging the model", 1.0)
            elif isinstance(event, events.Notice):
                line.say(event.sentence)
            elif isinstance(event, events.ValidationDone):
                score = f"  validation {event.score.words}"
            yield event


def _show_new(line: ProgressLine, notes: Sequence[str], shown: set[str]) -> None:
    for note in notes:
        if note not in shown:
            line.say(note)
            shown.add(note)


def summary(output: Path, finished: TrainingFinished) -> dict[str, Any]:
    """Return the result as JSON can hold it; `verdict` is a sentence for people."""
    card = finished.model.card
    score = card.score
    outcome = f"{counted(finished.steps, 'step')} in {duration(finished.seconds)}"
    if score:
        pixels = counted(score.pixels, "held-out pixel")
        outcome += f", {score.words} on {pixels}"
    return {
        "model": str(output),
        "steps": finished.steps,
        "seconds": round(finished.seconds, 2),
        "device": card.device,
        "precision": card.precision,
        "validation": score.model_dump() if score else None,
        "networks": card.members,
        "decisions": [d.model_dump() for d in card.training.decisions],
        "problem": finished.problem,
        "verdict": finished.problem or outcome,
    }
