"""Notes on assumptions in reading images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_unet.core.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterable


class HasNotes(Protocol):
    """An image, or a record of one."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102


def notes_of(images: Iterable[HasNotes]) -> list[str]:
    """Return the notes of images, equal ones once with all their images' names."""
    names: dict[str, list[str]] = {}
    for image in images:
        for note in image.notes:
            names.setdefault(note, []).append(image.name)
    return [f"{listed(holders)}: {note}" for note, holders in names.items()]
