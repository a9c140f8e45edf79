"""The classes of a project: added, changed and removed, each as a step to be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.annotation.annotations import FIRST_OBJECT, MAX_CLASSES, PALETTE
from napari_unet.io.project_record import ProjectClass
from napari_unet.session.annotating.label_range import values_in_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.annotation.annotations import ClassKind
    from napari_unet.io.project_record import Project, ProjectImage
    from napari_unet.session.project.store import ProjectStore


class ClassList:
    """Changes the list of classes; a class is known by its number, from 1."""

    def __init__(self, store: ProjectStore) -> None:
        self._store = store

    def add(self, name: str, kind: ClassKind = "cells") -> None:
        """Add a class, in a colour that is not used yet.

        ValueError if the name is empty or taken, or there are too many classes.
        """
        classes = self._store.project.classes
        if len(classes) >= MAX_CLASSES:
            raise ValueError(f"There are at most {MAX_CLASSES} classes.")
        used = {c.colour for c in classes}
        unused = [colour for colour in PALETTE if colour not in used]
        colour = unused[0] if unused else PALETTE[len(classes) % len(PALETTE)]
        new = ProjectClass(name=self._free_name(name), kind=kind, colour=colour)
        project = self._store.project.replace(classes=(*classes, new))
        self._store.update(project, f"add class {name}")

    def rename(self, number: int, name: str) -> None:
        """Rename a class; ValueError if the name is empty or taken."""
        self._change(number, "rename", name=self._free_name(name, number))

    def recolour(self, number: int, colour: str) -> None:
        """Give a class another colour, as #rrggbb."""
        self._change(number, "recolour", colour=colour)

    def set_kind(self, number: int, kind: ClassKind) -> None:
        """Make a class one of cells or of regions."""
        self._change(number, "change kind of", kind=kind)

    def count(self, number: int) -> int:
        """Count the objects of a class in all images."""
        return sum(
            image.class_of.get(id_, 1) == number
            for image in self._store.project.images
            for id_ in self._painted(image)
        )

    def remove(self, number: int, into: int | None = None) -> None:
        """Remove a class; its objects become those of the class `into`.

        ValueError if it has objects and no class is given for them, or it is the only
        class.
        """
        project = self._store.project
        check_number(project, number)
        name, count = project.classes[number - 1].name, self.count(number)
        if count and into is None:
            raise ValueError(f"Say what the objects of {name} become: {count} found.")
        if len(project.classes) == 1:
            raise ValueError("There must be a class: rename this one instead.")
        into = into or (2 if number == 1 else 1)
        check_number(project, into)
        if into == number:
            raise ValueError("The objects of a class that goes need another class.")
        new = {k: k - (k > number) for k in range(1, len(project.classes) + 1)}
        new[number] = new[into]
        changed = project.replace(
            classes=(*project.classes[: number - 1], *project.classes[number:]),
            images=tuple(
                image.replace(class_of=self._renumbered(image, new))
                for image in project.images
            ),
        )
        self._store.update(changed, f"remove class {name}")

    def _change(self, number: int, verb: str, **changes: str) -> None:
        project = self._store.project
        check_number(project, number)
        classes = list(project.classes)
        name = classes[number - 1].name
        classes[number - 1] = classes[number - 1].replace(**changes)
        if tuple(classes) != project.classes:
            changed = project.replace(classes=tuple(classes))
            self._store.update(changed, f"{verb} class {name}")

    def _free_name(self, name: str, number: int = 0) -> str:
        """Return a name that no class but that of this number may have."""
        name = name.strip()
        if not name:
            raise ValueError("A class needs a name.")
        classes = enumerate(self._store.project.classes, start=1)
        if name in [c.name for k, c in classes if k != number]:
            raise ValueError(f"There is a class {name!r} already.")
        return name

    def _renumbered(
        self, image: ProjectImage, new: Mapping[int, int]
    ) -> dict[int, int]:
        """Return the classes of an image's objects by their new numbers."""
        class_of = {id_: new[k] for id_, k in image.class_of.items()}
        if new[1] != 1:
            # those that no list names are of class 1, and may be of another afterwards
            named = class_of.keys()
            class_of |= {
                id_: new[1] for id_ in self._painted(image) if id_ not in named
            }
        return class_of

    def _painted(self, image: ProjectImage) -> set[int]:
        if not image.annotated:
            return set()
        values = values_in_file(self._store.annotation(image.id))
        return {id_ for id_ in values if id_ >= FIRST_OBJECT}


def check_number(project: Project, number: int) -> None:
    """Raise ValueError if there is no class of this number."""
    if not 1 <= number <= len(project.classes):
        raise ValueError(f"classes are 1 to {len(project.classes)}, found {number}.")


def record_classes(
    store: ProjectStore, image_id: str, class_of: Mapping[int, int]
) -> None:
    """Write down the classes of new objects."""
    known = store.project.image(image_id).class_of
    store.change_image(image_id, class_of={**known, **class_of})
