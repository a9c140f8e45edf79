"""What was chosen in reading images, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMED = 3


class Noted(Protocol):
    """An image, or what is told of one."""

    @property
    def name(self) -> str:
        """What the image is called."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen in reading it."""


def notes_of(images: Iterable[Noted]) -> list[str]:
    """Return the notes of images, each with the names of those that it holds for.

    Returns
    -------
    list of str
        In the order of their first appearance, equal ones once.
    """
    names: dict[str, list[str]] = {}
    for image in images:
        for note in image.notes:
            names.setdefault(note, []).append(image.name)
    return [f"{_listed(holders)}: {note}" for note, holders in names.items()]


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
