"""The log of a training run: with its settings, all that a replay needs.

The random numbers of a run come from its seed. The result also depends on the data as
they were then, and on the clock: with a budget in minutes it determines the learning
rate of each step, and when the network is validated.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import BACKGROUND, UNKNOWN, Annotation
from napari_unet.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Field
    from napari_unet.core.model import Model

_FAST = 1  # fast compression: labels are small at any level, and a person waits


class Timetable(Settings):
    """The decisions by the clock in a run of one network."""

    progress: tuple[float, ...] = ()  # share of the budget used before each step
    validated: tuple[int, ...] = ()  # steps after which the network was validated
    seconds: tuple[float, ...] = ()  # of each row of the history
    ended: float = 0.0  # seconds at the end


@dataclass(frozen=True, slots=True, eq=False)
class PackedAnnotation:
    """A compressed copy of an annotation, which no stroke changes any more.

    Unlabelled pixels in finished parts are background in it.
    """

    packed: bytes
    dtype: np.dtype[np.integer]
    shape: tuple[int, ...]
    classes: tuple[ClassInfo, ...]
    class_of: Mapping[int, int]

    @classmethod
    def of(cls, annotation: Annotation) -> PackedAnnotation:
        """Pack it."""
        labels = np.ascontiguousarray(annotation.labels)
        if annotation.finished is not None:
            unlabelled = annotation.finished & (labels == UNKNOWN)
            labels = np.where(unlabelled, labels.dtype.type(BACKGROUND), labels)
        # the same labels are the same copy, from whatever file they come
        labels = labels.astype(np.min_scalar_type(int(labels.max(initial=0))))
        return cls(
            zlib.compress(labels.tobytes(), _FAST),
            labels.dtype,
            labels.shape,
            annotation.classes,
            dict(annotation.class_of),
        )

    @property
    def labels(self) -> NDArray[np.integer]:
        """The labels, ([z,] y, x), as of an `Annotation`."""
        values = np.frombuffer(zlib.decompress(self.packed), self.dtype)
        return values.reshape(self.shape)


if TYPE_CHECKING:
    # The target of a task that makes images is a field; to denoise there is none.
    Known = PackedAnnotation | Field | None


@dataclass(frozen=True, slots=True, eq=False)
class LoggedCorrection:
    """Annotation that changed during the training."""

    step: int  # steps that were done by then
    field: Field
    annotation: PackedAnnotation  # of the whole field
    box: Box | None  # what changed of it; None for anything


@dataclass(frozen=True, slots=True, eq=False)
class RunLog:
    """The data and decisions of a run."""

    known: tuple[tuple[Field, Known], ...]  # in the order in which it was read
    corrections: tuple[LoggedCorrection, ...]
    timetables: tuple[Timetable, ...]  # one for each network
    threads: int  # of torch, as sums depend on their number
    # SHA-256 of the pixels of each of `known`, as in the card's records of images
    fingerprints: tuple[str, ...]
    digest: bytes  # of `known`
    start: Model | None = None
    problem: str | None = None  # why the run cannot be repeated, if it cannot

    def ended(self, seconds: float) -> RunLog:
        """Return the log of one network with the time at its end."""
        tables = tuple(table.replace(ended=seconds) for table in self.timetables)
        return replace(self, timetables=tables)

    @classmethod
    def joined(cls, logs: Iterable[RunLog], folds: int) -> RunLog | None:
        """Return the log of several networks with one training set, None of none."""
        every = list(logs)
        if not every:
            return None
        problem = next((log.problem for log in every if log.problem), None)
        if any(log.corrections or log.digest != every[0].digest for log in every):
            problem = (
                "the annotation changed while its networks were trained, one after the "
                "other"
            )
        if len(every) < folds:
            problem = (
                f"of {folds} networks only {len(every)} were trained from their start "
                "to their end without an interruption"
            )
        tables = tuple(table for log in every for table in log.timetables)
        return replace(every[0], timetables=tables, problem=problem)


@dataclass(slots=True, eq=False)
class Recorder:
    """Collects the data of a run at its start, and the corrections."""

    known: list[tuple[Field, Known]] = field(default_factory=list)
    corrections: list[LoggedCorrection] = field(default_factory=list)

    def add(self, of: Field, known: Annotation | Field | None) -> None:
        """Keep what is known of a field."""
        packed = PackedAnnotation.of(known) if isinstance(known, Annotation) else known
        self.known.append((of, packed))

    def correct(
        self, step: int, of: Field, annotation: Annotation, box: Box | None
    ) -> None:
        """Keep a correction, and after which step it came."""
        packed = PackedAnnotation.of(annotation)
        self.corrections.append(LoggedCorrection(step, of, packed, box))

    def fingerprint(self) -> bytes:
        """Return a hash of what is known of the fields, in their order."""
        digest = sha256()
        for of, known in self.known:
            digest.update(f"{of.t} {of.z} {of.shape}".encode())
            if isinstance(known, PackedAnnotation):
                classes = sorted((i, k) for i, k in known.class_of.items() if k != 1)
                digest.update(f"{known.dtype} {known.classes} {classes}".encode())
                digest.update(known.packed)
        return digest.digest()
