"""Changes of the list of classes: each takes a project and returns another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.annotation.annotations import MAX_CLASSES
from napari_unet.session.project.record import PALETTE, ProjectClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_unet.core.annotation.annotations import ClassKind
    from napari_unet.session.project.record import Project, ProjectImage


def with_class(project: Project, name: str, kind: ClassKind) -> Project:
    """Return the project with one more class, in a colour that is not used yet.

    Raises
    ------
    ValueError
        If the name is empty or taken, or there are too many classes.
    """
    if len(project.classes) >= MAX_CLASSES:
        raise ValueError(f"There are at most {MAX_CLASSES} classes.")
    used = {c.colour for c in project.classes}
    left = [colour for colour in PALETTE if colour not in used]
    colour = left[0] if left else PALETTE[len(project.classes) % len(PALETTE)]
    new = ProjectClass(name=_free_name(project, name, 0), kind=kind, colour=colour)
    return project.replace(classes=(*project.classes, new))


def with_changed_class(project: Project, number: int, **changes: str) -> Project:
    """Return the project with the name, colour or kind of a class changed.

    Raises
    ------
    ValueError
        If there is no such class, or the name is empty or taken.
    """
    check_number(project, number)
    if "name" in changes:
        changes["name"] = _free_name(project, changes["name"], number)
    classes = list(project.classes)
    classes[number - 1] = classes[number - 1].replace(**changes)
    return project.replace(classes=tuple(classes))


def without_class(
    project: Project, number: int, into: int, present: Mapping[str, Iterable[int]]
) -> Project:
    """Return the project without a class; its objects become those of another.

    Parameters
    ----------
    project : Project
    number, into : int
        Class that goes, and class that takes its objects.
    present : mapping of str to iterable of int
        Ids of the objects in each image: those that no list names are of class 1, and
        that may be another class afterwards.

    Raises
    ------
    ValueError
        If it is the only class, or one of the classes is not there.
    """
    check_number(project, number)
    check_number(project, into)
    if len(project.classes) == 1:
        raise ValueError("There must be a class: rename this one instead.")
    if into == number:
        raise ValueError("The objects of a class that goes need another class.")
    new = {
        k: k - (k > number) for k in range(1, len(project.classes) + 1) if k != number
    }
    new[number] = new[into]
    classes = tuple(c for k, c in enumerate(project.classes, start=1) if k != number)
    images = tuple(
        image.replace(class_of=_renumbered(image, new, present.get(image.id, ())))
        for image in project.images
    )
    return project.replace(classes=classes, images=images)


def check_number(project: Project, number: int) -> None:
    """Raise ValueError if there is no class of this number."""
    if not 1 <= number <= len(project.classes):
        raise ValueError(f"classes are 1 to {len(project.classes)}, found {number}.")


def _free_name(project: Project, name: str, number: int) -> str:
    """Check the name of a class."""
    name = name.strip()
    if not name:
        raise ValueError("A class needs a name.")
    others = [c.name for k, c in enumerate(project.classes, start=1) if k != number]
    if name in others:
        raise ValueError(f"There is a class {name!r} already.")
    return name


def _renumbered(
    image: ProjectImage, new: Mapping[int, int], present: Iterable[int]
) -> dict[int, int]:
    """Return the classes of an image's objects by their new numbers."""
    class_of = {id_: new[k] for id_, k in image.class_of.items()}
    if new[1] != 1:
        class_of |= {id_: new[1] for id_ in present if id_ not in class_of}
    return class_of
