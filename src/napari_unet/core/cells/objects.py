"""Cells of an image and their properties, as they are exported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from napari_unet.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.images.image import Image

# Ids are names of up to 32 bits, as in label images.
HIGHEST_ID = 2**32 - 1


class ObjectClass(NamedTuple):
    """A class of objects, and its colour."""

    name: str
    colour: str | None = None  # as #rrggbb; None if it is left to the program


class Plane(NamedTuple):
    """Ids (y, x) of one slice of one time point, both from 0."""

    t: int
    z: int
    ids: NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Objects of an image; an id is one object in all slices and time points."""

    # whole numbers without the axis c, 0 is background; its name is that of the image
    labels: Image
    classes: tuple[ObjectClass, ...] = ()
    class_of: Mapping[int, int] = field(default_factory=dict)  # from 1, as in `classes`
    # of the class that an object has, 0 to 1
    probability_of: Mapping[int, float] = field(default_factory=dict)
    # rows of `core.cells.measurements.measure`, joined by label, time point and slice
    table: Columns = field(default_factory=dict)
    channels: int = 1  # of the image that they are of, 1 for colours
    # shape of the labels: where it is unknown whether there are objects; None: nowhere
    unknown: NDArray[np.bool_] | None = None
    # of objects followed through time, the one that each came from by division
    parent_of: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name, dtype = printable(self.labels.name), self.labels.data.dtype
        if "c" in self.labels.axes or dtype.kind not in "bui":
            raise ValueError(
                f"{name}: ids of objects are whole numbers without channels, found "
                f"{dtype} with axes {self.labels.axes!r}."
            )
        for label, number in self.class_of.items():
            if not 1 <= number <= len(self.classes):
                raise ValueError(
                    f"{name}: classes are numbered 1 to {len(self.classes)}, found "
                    f"{number} for object {label}."
                )

        for label, share in self.probability_of.items():
            if not 0 <= share <= 1:
                raise ValueError(
                    f"{name}: probabilities are 0 to 1, found {share} for object "
                    f"{label}."
                )

    def planes(self) -> Iterator[Plane]:
        """Yield the planes, time outermost; ValueError if an id is none."""
        for one in self.labels.fields(2):
            ids = one.read()[0]
            least, most = int(ids.min()), int(ids.max())
            if least < 0 or most > HIGHEST_ID:
                raise ValueError(
                    f"{printable(self.labels.name)}: ids of objects are from 0 to "
                    f"{HIGHEST_ID}, found {least} to {most}."
                )
            yield Plane(one.t, one.z or 0, ids)

    def class_named(self, label: int) -> ObjectClass | None:
        """Return the class of an object, None if it is not known."""
        number = self.class_of.get(label)
        return None if number is None else self.classes[number - 1]
