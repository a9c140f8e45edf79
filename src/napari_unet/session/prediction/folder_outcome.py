"""What became of each image of a folder that was predicted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.text import counted

if TYPE_CHECKING:
    from napari_unet.core.events import FilePredicted


@dataclass(slots=True, eq=False)
class FolderOutcome:
    """Counts images, and keeps why some of them could not be predicted.

    Attributes
    ----------
    target : Path
        Folder of the results.
    predicted, there : int
        Images that were predicted, and whose results were there before.
    failures : list of str
        A sentence for each image that was not done, which begins with its name.
    notes : list of str
        What was chosen in reading the images.
    end : str
        Why no more images follow, a sentence if that is no good end; None while it
        runs.
    """

    target: Path
    predicted: int = 0
    there: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    end: str | None = None

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self.end is None

    @property
    def good(self) -> bool:
        """Whether all images have their results."""
        return self.end == "" and not self.failures

    @property
    def sentence(self) -> str:
        """What became of how many images, in a sentence or two."""
        counts = [
            (self.predicted, "predicted"),
            (self.there, "there already"),
            (len(self.failures), "not done"),
        ]
        told = ", ".join(f"{number} {what}" for number, what in counts if number)
        images = self.predicted + self.there + len(self.failures)
        total = counted(images, "image")
        parts = [f"{total}: {told}." if told else f"{total}.", self.end or ""]
        parts.append(f"Results are in {self.target}." if images else "")
        return " ".join(part for part in parts if part)

    def note(self, event: FilePredicted) -> None:
        """Count an image."""
        name = Path(event.path).name
        self.notes += [_about(name, event.path, note) for note in event.notes]
        if event.problem is not None:
            self.failures.append(_about(name, event.path, event.problem))
        elif event.there:
            self.there += 1
        else:
            self.predicted += 1


def _about(name: str, path: str, sentence: str) -> str:
    """Begin a sentence with the name of a file, whose folder is known, once."""
    short = sentence.replace(path, name)
    return short if short.startswith(name) else f"{name}: {short}"
