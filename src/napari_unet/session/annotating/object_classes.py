"""Classes of objects in a file, as classes of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from napari_unet.core.annotation.annotations import MAX_CLASSES, PALETTE
from napari_unet.io.project_record import ProjectClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.cells.objects import ObjectClass

    Kinds = Mapping[int, ObjectClass]
    """The classes of objects by their ids."""


class MaskDetails(NamedTuple):
    """What is known of masks of cells besides their ids."""

    kinds: Kinds
    # of the shape of the masks: where it is unknown whether there are cells
    unknown: NDArray[Any] | None = None


def classes_with(
    classes: tuple[ProjectClass, ...], kinds: Kinds, *, annotated: bool
) -> tuple[ProjectClass, ...]:
    """Return classes, and after them those of objects that are new.

    A single class of objects is not added: it only says that they are objects. If
    nothing is `annotated`, the initial class of the project is replaced.
    """
    names = {kind.name: kind for kind in kinds.values()}
    if len(names) < 2:
        return classes
    found = [] if len(classes) == 1 and not annotated else [*classes]
    for kind in names.values():
        if all(kind.name != one.name for one in found):
            colour = (kind.colour or PALETTE[len(found) % len(PALETTE)]).lower()
            found.append(ProjectClass(name=kind.name, colour=colour))
    _check_count(found, "the objects")
    return tuple(found)


def joined_classes(
    classes: tuple[ProjectClass, ...],
    others: tuple[ProjectClass, ...],
    *,
    annotated: bool,
) -> tuple[tuple[ProjectClass, ...], dict[int, int]]:
    """Return classes, and after them those of another project that are new.

    Classes of one name and kind are the same. If nothing is `annotated`, the initial
    class of the project is replaced. Also returned is the number that each class of the
    other project now has, by its number there.
    """
    found = [] if len(classes) == 1 and not annotated else [*classes]
    numbers = {}
    for number, other in enumerate(others, start=1):
        same = [(one.name, one.kind) == (other.name, other.kind) for one in found]
        if not any(same):
            taken, name = {one.name for one in found}, other.name
            while name in taken:
                name += " 2"
            found.append(other.replace(name=name))
            same.append(True)
        numbers[number] = same.index(True) + 1
    _check_count(found, "the other project")
    return tuple(found), numbers


def _check_count(classes: Sequence[ProjectClass], whose: str) -> None:
    if len(classes) > MAX_CLASSES:
        raise ValueError(
            f"There are at most {MAX_CLASSES} classes; with those of {whose} there "
            f"would be {len(classes)}."
        )


def class_numbers(kinds: Kinds, classes: tuple[ProjectClass, ...]) -> dict[int, int]:
    """Return the class number of each object whose class is among `classes`."""
    number_of = {one.name: number for number, one in enumerate(classes, start=1)}
    return {
        label: number_of[kind.name]
        for label, kind in kinds.items()
        if kind.name in number_of
    }
