"""All image files of a folder, opened and added as images of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.text import capitalised, counted
from napari_unet.io.images import find, left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari.components import ViewerModel

    from napari_unet.session.images.image_list import ImageList


def add_folder(
    viewer: ViewerModel,
    images: ImageList,
    folder: Path,
    say: Callable[[str, str], None],
) -> Iterator[None]:
    """Open the files one by one; None comes after each.

    Several layers of one file become the channels of one image. `say` gets a level and
    a sentence: what could not be added, and at the end how many were. Images that the
    project has already are attached, not added twice.

    FileNotFoundError if there is no such folder, or no image in it.
    """
    files = find([folder])
    added = 0
    for file in files:
        before = [*viewer.layers]
        try:
            viewer.open([str(file)])
            new = [
                layer
                for layer in images.candidates()
                if not any(layer is one for one in before)
            ]
            if new:
                images.add(new)
            added += 1
        except Exception as error:  # whatever napari's reader raises
            say("warning", f"{file.name} was not added: {error}")
        yield None
    if (current := images.current) is not None:
        # the others would be seen where this one ends
        images.set_current(current.id)
    rest = capitalised(left_out([folder]))
    say("info", f"Added {counted(added, 'image')} of {folder.name}. {rest}".rstrip())
