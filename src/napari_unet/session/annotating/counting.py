"""What is painted in each plane, counted little by little after edits."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    cell_classes,
)
from napari_unet.core.text import counted
from napari_unet.session.annotating.label_range import values_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from psygnal import SignalInstance

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore

# Seconds from the last edit of a plane to its new count: strokes come in series.
_PAUSE = 0.3
# Seconds of a look; a plane of 2048² takes some 10 ms.
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Tally:
    """What is painted in a plane.

    Attributes
    ----------
    ids : frozenset of int
        Of the objects.
    background : bool
        Whether any background is painted.
    """

    ids: frozenset[int] = frozenset()
    background: bool = False


class Tallies:
    """Counts the planes of all images that are open, the current one's first.

    Parameters
    ----------
    store : ProjectStore
    images : ImageList
    edited : SignalInstance
        Tells the id of an image and the `Edit` made in its annotation.
    """

    changed = Signal()
    """Something was counted anew."""

    def __init__(
        self, store: ProjectStore, images: ImageList, edited: SignalInstance
    ) -> None:
        self._store = store
        self._images = images
        self._tallies: dict[tuple[str, int, int], Tally] = {}
        self._edited: dict[tuple[str, int, int], float] = {}
        edited.connect(self._on_edit)
        store.replaced.connect(self._on_replaced)

    def close(self) -> None:
        """Follow the project no more."""
        self._store.replaced.disconnect(self._on_replaced)

    def of(self, image_id: str, t: int, z: int) -> Tally | None:
        """Return what is painted in a plane; None if it is not counted yet."""
        return self._tallies.get((image_id, t, z))

    def planes_with(self, image_id: str, ids: set[int]) -> list[tuple[int, int]]:
        """Return the planes of an image in which some objects were counted."""
        return [
            (t, z)
            for (owner, t, z), found in self._tallies.items()
            if owner == image_id and not found.ids.isdisjoint(ids)
        ]

    def look(self) -> None:
        """Count planes that are new or were edited; called a few times a second."""
        if self._count(monotonic() - _PAUSE, _LOOK_S):
            self.changed.emit()

    def count_all(self, seconds: float) -> None:
        """Count what is left, for no longer than some time."""
        if self._count(float("inf"), seconds):
            self.changed.emit()

    def _count(self, rested: float, seconds: float) -> bool:
        """Count what was not edited since `rested`; return whether anything was."""
        end = perf_counter() + seconds
        counted = False
        for key in self._waiting(rested):
            self._edited.pop(key, None)
            self._tallies[key] = tally(self._store.annotation(key[0]).plane(*key[1:]))
            counted = True
            if perf_counter() > end:
                break
        return counted

    def _waiting(self, rested: float) -> Iterator[tuple[str, int, int]]:
        current = self._images.current
        images = sorted(
            self._store.project.images,
            key=lambda image: current is None or image.id != current.id,
        )
        for image in images:
            if not image.annotated or not self._images.layers(image.id):
                continue
            for t, z in self._images.places(image.id):
                key = image.id, t, z or 0
                edited = self._edited.get(key)
                if key not in self._tallies or (
                    edited is not None and edited <= rested
                ):
                    yield key

    def _on_edit(self, image_id: str, edit: Edit) -> None:
        self._edited[(image_id, edit.t, edit.z)] = monotonic()

    def _on_replaced(self, image_id: str) -> None:
        for key in [key for key in self._tallies if key[0] == image_id]:
            del self._tallies[key]


def in_words(
    ids: Iterable[int], class_of: Mapping[int, int], classes: Sequence[ClassInfo]
) -> str:
    """Say how many of some objects are cells, and which regions there are.

    Parameters
    ----------
    ids : iterable of int
    class_of : mapping of int to int
        As in `core.annotation.annotations.Annotation`.
    classes : sequence of ClassInfo

    Returns
    -------
    str
        Such as "3 cells, tissue".
    """
    cells = cell_classes(classes)
    numbers = [class_of.get(i, 1) for i in ids]
    count = sum(number in cells for number in numbers)
    regions = [classes[n - 1].name for n in sorted({*numbers} - {*cells})]
    told = [counted(count, "cell")] if count or not regions else []
    return ", ".join([*told, *regions])


def tally(plane: NDArray[np.int32]) -> Tally:
    """Count a plane of an annotation.

    Parameters
    ----------
    plane : ndarray of int32, shape (y, x)
        0 not annotated, 1 background, 2 and up objects.
    """
    there = values_in(np.asarray(plane))
    ids = frozenset(there[there >= FIRST_OBJECT].tolist())
    return Tally(ids, bool((there == BACKGROUND).any()))
