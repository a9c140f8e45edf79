"""What a network would be trained on, counted plane by plane, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_unet.core.annotations import BACKGROUND, FIRST_OBJECT
from napari_unet.session.training.preview_region import channels_of

if TYPE_CHECKING:
    from typing import Literal

    from numpy.typing import NDArray

    from napari_unet.core.jobs import Place
    from napari_unet.session.annotating.control import Annotating
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import ProjectImage
    from napari_unet.session.project.store import ProjectStore

# A table of ids up to here is quick to fill.
_MANY_IDS = 1_000_000
# Seconds from the last edit of a plane to its new count: strokes come in series.
_PAUSE = 0.3
_EMPTY = "Paint a few cells and some background in the Annotate dock, then press Train."


@dataclass(frozen=True, slots=True)
class Tally:
    """What is painted in a plane."""

    ids: frozenset[int] = frozenset()
    background: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """What a network would be trained on.

    Attributes
    ----------
    images, slices, cells : int
        Slices with annotation; objects of all classes.
    background : int
        Slices with background.
    classes : frozenset of int
        Class numbers that are annotated, 0 for background.
    complete : bool
        Whether all planes were counted.
    """

    images: int = 0
    slices: int = 0
    cells: int = 0
    background: int = 0
    classes: frozenset[int] = frozenset()
    complete: bool = True

    def __str__(self) -> str:
        if not self.images:
            return "nothing annotated"
        slices, images = _count(self.slices, "slice"), _count(self.images, "image")
        cells = _count(self.cells, "cell")
        background = "no background"
        if self.background:
            background = f"background in {_count(self.background, 'slice')}"
        return f"{slices} of {images}: {cells}, {background}"


class Material:
    """Counts what is painted in the images that are ticked.

    Parameters
    ----------
    store : ProjectStore
    images : ImageList
    annotating : Annotating
    """

    changed = Signal()
    """Something was counted anew."""

    def __init__(
        self, store: ProjectStore, images: ImageList, annotating: Annotating
    ) -> None:
        self._store = store
        self._images = images
        self._annotating = annotating
        self._tallies: dict[tuple[str, int, int], Tally] = {}
        self._edited: dict[tuple[str, int, int], float] = {}
        self._cached: Summary | None = None
        annotating.edited.connect(self._on_edit)
        store.changed.connect(self._forget)
        images.changed.connect(self._forget)
        store.replaced.connect(self._on_replaced)

    def close(self) -> None:
        """Let go of the annotation."""
        self._annotating.edited.disconnect(self._on_edit)
        self._store.changed.disconnect(self._forget)
        self._images.changed.disconnect(self._forget)
        self._store.replaced.disconnect(self._on_replaced)

    def chosen(self) -> tuple[ProjectImage, ...]:
        """Return the images to train on: ticked, open, and with annotation."""
        return tuple(
            image
            for image in self._store.project.images
            if image.ticked and self._places(image) and self._images.layers(image.id)
        )

    def places(self, image: ProjectImage, ndim: Literal[2, 3]) -> tuple[Place, ...]:
        """Return the annotated planes, or the volumes with annotation."""
        planes = self._places(image)
        if ndim == 2:
            return tuple(planes)
        return tuple((t, None) for t in sorted({t for t, _ in planes}))

    def look(self) -> None:
        """Count one plane that is new or was edited; called a few times a second."""
        if self._count_one(monotonic()):
            self.changed.emit()

    def count_all(self, seconds: float) -> None:
        """Count what is left, for no longer than some time."""
        end = monotonic() + seconds
        while monotonic() < end and self._count_one(float("inf")):
            pass

    def summary(self) -> Summary:
        """Return what is counted so far."""
        if self._cached is None:
            self._cached = self._summed_up()
        return self._cached

    def planes_with(self, image_id: str, ids: set[int]) -> list[tuple[int, int]]:
        """Return the planes of an image in which some objects were counted."""
        return [
            (t, z)
            for (owner, t, z), found in self._tallies.items()
            if owner == image_id and not found.ids.isdisjoint(ids)
        ]

    def problem(self, ndim: Literal[2, 3]) -> str:
        """Return what stands against training, and what to do; empty if nothing."""
        project = self._store.project
        ticked = [image for image in project.images if image.ticked]
        if not project.images:
            return "Open an image and add it in the Annotate dock first."
        if not ticked:
            return "Tick an image to train on in the Annotate dock."
        chosen = self.chosen()
        if not chosen:
            return self._why_none(ticked)
        channels = sorted({channels_of(image) for image in chosen})
        if len(channels) > 1:
            found = " and ".join(map(str, channels))
            return f"The ticked images have {found} channels: tick only one kind."
        flat = [image.name for image in chosen if "z" not in image.axes]
        if ndim == 3 and flat:
            return f"{flat[0]} has no z axis: train on slices (2-D), or untick it."
        return self._one_class(self.summary())

    def _summed_up(self) -> Summary:
        slices = cells = background = 0
        classes: set[int] = set()
        complete = True
        images = self.chosen()
        for image in images:
            # one id is one object in all slices of a time point
            objects: set[tuple[int, int]] = set()
            finished = {(part.t, part.z) for part in image.finished}
            for t, z in self._places(image):
                tally = self._tallies.get((image.id, t, z))
                complete = complete and tally is not None
                tally = tally or Tally()
                slices += 1
                background += tally.background or (t, z) in finished
                objects.update((t, i) for i in tally.ids)
            cells += len(objects)
            classes |= {image.class_of.get(i, 1) for _, i in objects}
        if background:
            classes.add(0)
        return Summary(
            len(images), slices, cells, background, frozenset(classes), complete
        )

    def _why_none(self, ticked: list[ProjectImage]) -> str:
        for image in ticked:
            if image.annotated and not self._images.layers(image.id):
                return f"Open {image.name} again: its layer is not in the viewer."
        return _EMPTY

    def _one_class(self, summary: Summary) -> str:
        """Return what to do where there is nothing to tell apart."""
        if not summary.complete or len(summary.classes) > 1:
            return ""
        if not summary.classes:
            return _EMPTY
        if summary.classes == {0}:
            return "Only background is painted: paint a few cells, too."
        (number,) = summary.classes
        name = self._store.project.classes[number - 1].name
        return (
            f"Only {name} are painted: paint background too, or press Fix in the "
            "data check (Annotate)."
        )

    def _places(self, image: ProjectImage) -> list[tuple[int, int]]:
        """Return the planes with paint or a finished part."""
        if not image.annotated:
            return []
        places = {(t, z or 0) for t, z in self._images.places(image.id)}
        return sorted(places | {(part.t, part.z) for part in image.finished})

    def _count_one(self, now: float) -> bool:
        """Count the first plane that needs it; return whether there was one."""
        for image in self.chosen():
            for t, z in self._places(image):
                key = image.id, t, z
                edited = self._edited.get(key)
                rested = edited is not None and now - edited >= _PAUSE
                if key in self._tallies and not rested:
                    continue
                self._edited.pop(key, None)
                plane = self._store.annotation(image.id).plane(t, z)
                self._tallies[key] = tally(plane)
                self._forget()
                return True
        return False

    def _on_edit(self, image_id: str, edit: Edit) -> None:
        self._edited[(image_id, edit.t, edit.z)] = monotonic()
        self._forget()

    def _on_replaced(self, image_id: str) -> None:
        for key in [key for key in self._tallies if key[0] == image_id]:
            del self._tallies[key]
        self._forget()

    def _forget(self) -> None:
        """Sum up anew when asked."""
        self._cached = None


def tally(plane: NDArray[np.int32]) -> Tally:
    """Count a plane of an annotation.

    Parameters
    ----------
    plane : ndarray of int32, shape (y, x)
        0 not annotated, 1 background, 2 and up objects.
    """
    values = np.asarray(plane).ravel()
    if values.max(initial=0) < _MANY_IDS:
        there = np.flatnonzero(np.bincount(values))
    else:
        there = np.unique(values)
    ids = frozenset(there[there >= FIRST_OBJECT].tolist())
    return Tally(ids, bool((there == BACKGROUND).any()))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
