"""Edits of predicted cells, kept beside the annotation in the same way.

An edit holds for the image, whichever model predicts it: see `core.cells.edited` for
what the values mean. They are those of an annotation, so the files are of its kind,
with its guarantees. One is there as soon as anything was edited in an image.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_unet.session.project.annotation_file import (
    AnnotationFile,
    delete_annotation,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from napari_unet.io.project_record import ProjectImage

_NAME = re.compile(r"edits-(.+)\.raw")


class EditFiles:
    """Files of edited cells in a folder, opened when needed.

    `notes` are sentences for the user.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, AnnotationFile] = {}
        self.notes: list[str] = []

    def get(self, image: ProjectImage, *, make: bool = False) -> AnnotationFile | None:
        """Return the edits of an image; None if there are none, unless to be made.

        ValueError if its file does not fit the image, OSError if it cannot be made.
        """
        if image.id not in self._opened:
            path = self._folder / file_name(image.id)
            if not (make or path.exists()):
                return None
            file = AnnotationFile(path, image.annotation_axes, image.annotation_shape)
            self.notes += file.notes
            self._opened[image.id] = file
        return self._opened[image.id]

    def dirty(self) -> list[AnnotationFile]:
        """Return the files with something to flush."""
        return [file for file in self._opened.values() if file.dirty]

    def close(self, image_ids: Collection[str]) -> None:
        """Close all, and delete those of other images than these."""
        for file in self._opened.values():
            file.close()
        for path in self._folder.glob("edits-*.raw"):
            found = _NAME.fullmatch(path.name)
            if found is not None and found[1] not in image_ids:
                delete_annotation(path)


def file_name(image_id: str, end: str = ".raw") -> str:
    """Return the name of the file with the edits of an image."""
    return f"edits-{image_id}{end}"
