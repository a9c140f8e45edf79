"""The progress of a prediction on the command line, and the report at its end."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_unet.cli.notes import notes_of
from napari_unet.cli.options import write_json
from napari_unet.cli.progress import Countdown, ProgressLine, interruptible
from napari_unet.cli.stopping import Stopped
from napari_unet.core.events import (
    BlockDone,
    FileBegun,
    FilePredicted,
    FileWaits,
    Notice,
    PredictionFinished,
    TileDone,
)
from napari_unet.core.text import counted, duration
from napari_unet.io.names import image_name
from napari_unet.io.prediction_folder import OF_CELLS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator, Iterator

    from napari_unet.core.events import Event


def follow_files(
    options: argparse.Namespace,
    kinds: tuple[str, ...],
    events: Generator[Event, None, None],
    line: ProgressLine,
    interrupted: Callable[[], str] = lambda: "",
) -> int:
    """Follow a prediction and report; return the exit status.

    `interrupted` gives what replaces the usual message after Ctrl-C.
    """
    batch = Batch(line, cells=not {"instances", *OF_CELLS}.isdisjoint(kinds))
    try:
        with closing(events):
            batch.follow(events)
    except KeyboardInterrupt as interrupt:
        if message := interrupted():
            line.say(message)
        else:
            batch.report_interrupted()
        raise Stopped.after(interrupt) from None
    finally:
        if batch.rows:
            report = {"output": str(options.output), "images": batch.rows}
            write_json(report, options.json)
    return batch.report_end()


class Batch:
    """Shows the progress of predicting several files and collects a report.

    `rows` has the result of each file, as JSON can hold it; with cells if they are
    counted.
    """

    def __init__(self, line: ProgressLine, *, cells: bool) -> None:
        self.rows: list[dict[str, Any]] = []
        self._line = line
        self._cells = cells
        self._total = 0
        self._notes: list[_ImageNotes] = []

    def follow(self, events: Iterator[Event]) -> None:
        """Run the prediction to its end."""
        name = count = ""
        outcome: dict[str, Any] = {}
        waited: set[str] = set()
        left = Countdown()
        with interruptible(events) as running:
            for event in running:
                if isinstance(event, FileBegun):
                    self._total = event.total
                    name = _shown(event.path)
                    count, outcome = f"{event.number}/{event.total}", {}
                    left = Countdown()
                elif isinstance(event, TileDone):
                    seconds = left.seconds(event.progress)
                    self._line.show(f"{count} {name}", event.progress, seconds)
                elif isinstance(event, BlockDone):
                    self._line.show(f"{count} {name}, {event.stage}", event.progress)
                elif isinstance(event, PredictionFinished):
                    outcome = {
                        "device": event.device,
                        "precision": event.precision,
                        "tile": list(event.output),
                        "seconds": round(event.seconds, 3),
                    }
                elif isinstance(event, Notice):
                    self._line.say(event.sentence)
                elif isinstance(event, FileWaits) and event.path not in waited:
                    waited.add(event.path)
                    self._line.say(f"{name}: waits for another run that works on it")
                elif isinstance(event, FilePredicted):
                    self._add_row(event, outcome)

    def report_interrupted(self) -> None:
        """Show how many files were done before Ctrl-C."""
        done = sum("problem" not in row for row in self.rows)
        self._line.say(
            f"interrupted; {done} of {counted(self._total, 'image is', 'images are')} "
            "done, and the same command goes on with the others."
        )

    def report_end(self) -> int:
        """List what could not be predicted; return the exit status."""
        for note in notes_of(self._notes):
            self._line.say(note)
        problems = [row["problem"] for row in self.rows if "problem" in row]
        if len(self.rows) > 1 and problems:
            done = len(self.rows) - len(problems)
            self._line.say(f"{done} of {len(self.rows)} images are done; not done:")
        return self._line.fail(problems)

    def _add_row(self, event: FilePredicted, outcome: dict[str, Any]) -> None:
        name = _shown(event.path)
        row: dict[str, Any] = {"image": event.path}
        if event.there:
            self._line.say(f"{name}: is there already")
            row["skipped"] = True
        elif event.problem is not None:
            if self._total > 1:
                self._line.say(f"{name}: not done")
            row["problem"] = event.problem
        else:
            # without a prediction if it is made from existing results
            seconds = outcome.get("seconds")
            how = "" if seconds is None else f" in {duration(seconds)}"
            self._line.say(f"{name}: done{how}")
            row |= outcome | ({"cells": event.cells} if self._cells else {})
        if event.notes:
            row["notes"] = list(event.notes)
            self._notes.append(_ImageNotes(name, event.notes))
        self.rows.append(row)


class _ImageNotes(NamedTuple):
    """Assumptions made in reading an image."""

    name: str
    notes: tuple[str, ...]


def _shown(path: str) -> str:
    """Return the name of a file, or of an image that is one of several in it."""
    file, image = Path(path).name, image_name(path)
    return file if file.startswith(image) else image
