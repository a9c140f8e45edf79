"""Which objects are painted in each plane, looked up little by little after edits."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
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
from napari_unet.session.throttle import Debounce

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from psygnal import SignalInstance

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore

# Seconds from the last edit of a plane to the look at it: strokes come in series.
_PAUSE = 0.3
# Seconds of a tick; a plane of 2048² takes some 10 ms.
_TICK_S = 0.02


@dataclass(frozen=True, slots=True)
class PlaneObjects:
    """The ids of the objects of a plane, and whether any background is painted."""

    ids: frozenset[int] = frozenset()
    background: bool = False


class ObjectIndex:
    """Looks at the planes of all images that are open, the current one's first.

    `edited` emits the id of an image and the `Edit` made in its annotation.
    """

    changed = Signal()
    """Some planes were looked at anew."""

    def __init__(
        self, store: ProjectStore, images: ImageList, edited: SignalInstance
    ) -> None:
        self._store = store
        self._images = images
        self._planes: dict[tuple[str, int, int], PlaneObjects] = {}
        self._edited: dict[tuple[str, int, int], Debounce] = {}
        edited.connect(self._on_edit)
        store.replaced.connect(self._on_replaced)

    def close(self) -> None:
        """Stop following the project."""
        self._store.replaced.disconnect(self._on_replaced)

    def of(self, image_id: str, t: int, z: int) -> PlaneObjects | None:
        """Return what is painted in a plane; None if that is not known yet."""
        return self._planes.get((image_id, t, z))

    def planes_with(self, image_id: str, ids: set[int]) -> list[tuple[int, int]]:
        """Return the planes (t, z) of an image in which some objects were found."""
        return [
            (t, z)
            for (owner, t, z), found in self._planes.items()
            if owner == image_id and not found.ids.isdisjoint(ids)
        ]

    def tick(self) -> None:
        """Look at planes that are new or were edited; called a few times a second."""
        self._look(self._due(), _TICK_S)

    def update_all(self, seconds: float) -> None:
        """Look at all planes that are due or will be, for no longer than some time."""
        self._look(self._due(at_rest=False), seconds)

    def _look(self, keys: Iterator[tuple[str, int, int]], seconds: float) -> None:
        end = perf_counter() + seconds
        looked = False
        for image_id, t, z in keys:
            self._edited.pop((image_id, t, z), None)
            plane = self._store.annotation(image_id).plane(t, z)
            self._planes[image_id, t, z] = objects_in(plane)
            looked = True
            if perf_counter() > end:
                break
        if looked:
            self.changed.emit()

    def _due(self, at_rest: bool = True) -> Iterator[tuple[str, int, int]]:
        """Yield the planes to look at; at rest, those that were not just edited."""
        current = self._images.current
        images = sorted(
            self._store.project.images,
            key=lambda image: current is None or image.id != current.id,
        )
        for image in images:
            if not image.annotated or not self._images.layers(image.id):
                continue
            for t, z in self._images.places(image.id):
                edited = self._edited.get((image.id, t, z))
                settled = edited is not None and (edited.take() or not at_rest)
                if settled or (image.id, t, z) not in self._planes:
                    yield image.id, t, z

    def _on_edit(self, image_id: str, edit: Edit) -> None:
        key = image_id, edit.t, edit.z
        self._edited.setdefault(key, Debounce(_PAUSE)).note()

    def _on_replaced(self, image_id: str) -> None:
        for key in [key for key in self._planes if key[0] == image_id]:
            del self._planes[key]


def describe_objects(
    ids: Iterable[int], class_of: Mapping[int, int], classes: Sequence[ClassInfo]
) -> str:
    """Say how many of some objects are cells, and which regions there are.

    Such as "3 cells, tissue". Objects that are not in `class_of` are of class 1.
    """
    cells = cell_classes(classes)
    numbers = [class_of.get(i, 1) for i in ids]
    count = sum(number in cells for number in numbers)
    regions = [classes[n - 1].name for n in sorted({*numbers} - {*cells})]
    words = [counted(count, "cell")] if count or not regions else []
    return ", ".join([*words, *regions])


def objects_in(plane: NDArray[np.int32]) -> PlaneObjects:
    """Return what is painted in a plane (y, x) of an annotation."""
    values = values_in(np.asarray(plane))
    ids = frozenset(values[values >= FIRST_OBJECT].tolist())
    return PlaneObjects(ids, bool((values == BACKGROUND).any()))
