"""Paths of the files of a project's images, and finding them after they moved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.io.names import is_of_windows, noted_name, split_number
from napari_unet.io.project_record import ImageSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.io.project_record import Project, ProjectImage


def is_missing(image: ProjectImage) -> bool:
    """Whether a file of an image is missing; an image of a bare array has no file."""
    return any(_is_gone(source.path) for source in image.sources)


def located(project: Project, image_id: str, path: Path) -> list[ProjectImage]:
    """Return an image, and others that are missing, with their new paths.

    The path is that of the image's file, or of its first missing one. Other missing
    files are searched beside it. FileNotFoundError if nothing is there.
    """
    path = path.absolute()
    if not _exists(path):
        raise FileNotFoundError(f"{path}: there is no such file.")

    def beside(known: str) -> str:
        other = path.parent / noted_name(known)
        return str(other) if _is_gone(known) and _exists(other) else known

    image = project.image(image_id)
    known = [source.path for source in image.sources if source.path is not None]
    moved = next(filter(_is_gone, known), known[0] if known else None)
    if moved is None:
        first = ImageSource(path=str(path), layer=image.sources[0].layer)
        image = image.replace(sources=(first, *image.sources[1:]))
    else:
        image = _mapped(image, lambda p: str(path) if p == moved else beside(p))
    others = [i for i in project.images if i.id != image_id and is_missing(i)]
    found = [image, *(_mapped(other, beside) for other in others)]
    return [other for other in found if not is_missing(other)]


def relative(
    image: ProjectImage, folder: Path, absolute: dict[str, str]
) -> ProjectImage:
    """Make paths relative to a folder, and keep the absolute ones in `absolute`."""

    def shorten(path: str) -> str:
        if not Path(path).is_absolute():
            return path
        try:
            short = Path(os.path.relpath(path, folder.absolute())).as_posix()
        except ValueError:  # on another drive
            return path
        absolute[short] = path
        return short

    return _mapped(image, shorten)


def resolved(
    image: ProjectImage, folder: Path, absolute: Mapping[str, str]
) -> ProjectImage:
    """Find the files of an image: as saved, beside the project, or where they were."""

    def find(path: str) -> str:
        if "://" in path:
            return path
        as_saved = (folder / path).resolve()
        beside = folder.resolve() / noted_name(path)
        for there in (as_saved, beside, Path(absolute.get(path, path))):
            if there.is_absolute() and _exists(there):
                return str(there)
        # one of another drive means nothing on other systems
        return path if is_of_windows(path) else str(as_saved)

    return _mapped(image, find)


def _is_gone(path: str | None) -> bool:
    return path is not None and "://" not in path and not _exists(Path(path))


def _exists(path: Path) -> bool:
    """Whether a file exists; not if its name is impossible on this disk."""
    try:
        return split_number(path)[0].exists()
    except OSError:
        return False


def _mapped(image: ProjectImage, change: Callable[[str], str]) -> ProjectImage:
    sources = (
        ImageSource(path=None if s.path is None else change(s.path), layer=s.layer)
        for s in image.sources
    )
    return image.replace(sources=tuple(sources))
