"""The prediction of a folder of images into another, with the outcome of each image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import FilePredicted, Notice, StarterChosen
from napari_unet.core.text import counted

if TYPE_CHECKING:
    from napari_unet.core.messages import Failed
    from napari_unet.session.worker.client import Handle


class FolderPrediction:
    """Counts images, and collects the reasons for failures.

    `handle` is that of the job; `source` and `target` are the folders of the images and
    of the results.

    Attributes
    ----------
    status : str
        Its current work, in a few words.
    predicted, there : int
        Images that were predicted, and whose results existed.
    failures : list of str
        A sentence for each image that was not done, which begins with its name.
    notes : list of str
        Assumptions in reading the images, and what was left out.
    end : str or None
        None while it runs; then the reason for an early end, empty if there is none.
    """

    changed = Signal()
    """It made progress or ended; nothing follows once `running` is False."""

    def __init__(self, handle: Handle, source: Path, target: Path) -> None:
        self.handle, self.target = handle, target
        self.status = f"Predicting the images in {source.name} …"
        self.predicted = self.there = 0
        self.failures: list[str] = []
        self.notes: list[str] = []
        self.end: str | None = None
        handle.event.connect(self._on_event)
        handle.ended.connect(self._on_ended)
        handle.failed.connect(self._on_failed)

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self.end is None

    @property
    def progress(self) -> float:
        """Share of the folder that is done, 0 to 1."""
        return self.handle.progress

    @property
    def good(self) -> bool:
        """Whether all images have their results."""
        return self.end == "" and not self.failures

    @property
    def sentence(self) -> str:
        """The numbers of images by their outcome, in a sentence or two.

        Empty until the first one is done.
        """
        counts = {
            "predicted": self.predicted,
            "there already": self.there,
            "not done": len(self.failures),
        }
        images = sum(counts.values())
        if self.running and not images:
            return ""
        listed = ", ".join(
            f"{number} {what}" for what, number in counts.items() if number
        )
        total = counted(images, "image")
        parts = [f"{total}: {listed}." if listed else f"{total}.", self.end or ""]
        parts.append(f"Results are in {self.target}." if images else "")
        return " ".join(part for part in parts if part)

    def _on_event(self, event: object) -> None:
        if isinstance(event, FilePredicted):
            self.notes += [_named(event.path, note) for note in event.notes]
            if event.problem is not None:
                self.failures.append(_named(event.path, event.problem))
            elif event.there:
                self.there += 1
            else:
                self.predicted += 1
        elif isinstance(event, Notice) and event.lasting:
            self.notes.append(event.sentence)
        elif isinstance(event, Notice):
            self.status = event.sentence
        elif isinstance(event, StarterChosen):
            choice = event.choice
            doubt = choice.doubt_of(choice.name)
            self.notes += [
                f"Took {choice.name}: {choice.reason}",
                *filter(None, [doubt]),
            ]
        self.changed.emit()

    def _on_ended(self, cancelled: bool) -> None:
        rest = "It was cancelled: other images were not processed."
        self.end = rest if cancelled else ""
        self.changed.emit()

    def _on_failed(self, failed: Failed) -> None:
        self.end = failed.sentence
        self.changed.emit()


def _named(path: str, sentence: str) -> str:
    """Begin a sentence with the name of a file, whose folder is known, once."""
    name = Path(path).name
    short = sentence.replace(path, name)
    return short if short.startswith(name) else f"{name}: {short}"
