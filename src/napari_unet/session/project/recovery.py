"""Projects on disk: where they are, which have an image, which are open."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from napari_unet.core.annotation.annotations import FIRST_OBJECT, UNKNOWN
from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.geometry.boxes import field_index
from napari_unet.io.project_record import FILE_NAME, ProjectFile
from napari_unet.io.records import inside
from napari_unet.io.user_data import data_folder
from napari_unet.session.project.annotation_file import (
    known_places,
    log_of,
    reference,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_unet.core.images.image import ArrayLike
    from napari_unet.io.project_record import ProjectImage

_log = logging.getLogger(__name__)

_LOCK_NAME = "open.lock"

# Another napari that only checks holds the lock for an instant.
_LOCK_WAIT_S = 0.3

# Positions of the samples along an axis, and the size of each in pixels. Reading the
# whole image would take too long, and a single sample may be black.
_ALONG = (0.0, 0.5, 1.0)
_SAMPLES = ((0.5, 0.5), (0.0, 0.0), (0.25, 0.75), (0.75, 0.25), (1.0, 1.0))
_SAMPLE = 64


class ProjectLockedError(RuntimeError):
    """A project is open in another napari, or another viewer."""


@dataclass(frozen=True, slots=True)
class FoundProject:
    """A project on disk that has a certain image."""

    folder: Path
    name: str
    image_id: str  # of the image in that project
    modified: datetime  # of the last change, in local time
    slices: int  # annotated planes of that image
    cells: int  # different ids of objects in them
    locked: bool  # open in a napari


@dataclass(frozen=True, slots=True)
class RecentProject:
    """A project that was worked on."""

    folder: Path
    images: tuple[str, ...]  # their names
    modified: datetime


def default_root() -> Path:
    """Return the folder of all projects, in the user's data folder.

    The environment variable NAPARI_UNET_HOME names another data folder.
    """
    return data_folder() / "projects"


def fingerprint(array: ArrayLike, axes: str) -> str:
    """Return a text that is equal for equal images: shape, dtype and some pixels.

    Of the array, numpy, dask or zarr, at most 15 blocks of 64 x 64 pixels are read;
    `axes` has a letter out of t, c, z, y, x for each axis.
    """
    dtype = np.dtype(array.dtype)
    plain = dtype.newbyteorder("<")
    digest = hashlib.blake2b(digest_size=12)
    for along in _ALONG if set(axes) - set("yx") else _ALONG[:1]:
        for y, x in _SAMPLES:
            at = {"y": y, "x": x}
            index = tuple(
                _block(at[axis], size) if axis in at else round(along * (size - 1))
                for axis, size in zip(axes, array.shape, strict=True)
            )
            block = np.asarray(array[index]).astype(plain, copy=False)
            digest.update(np.ascontiguousarray(block).tobytes())
    size = "x".join(str(n) for n in array.shape)
    return f"{size} {dtype.name} {digest.hexdigest()}"


def find_projects(
    root: Path, fingerprint: str, warn: Callable[[str], None] = _log.warning
) -> list[FoundProject]:
    """Find the projects that hold an image and any annotation, latest first.

    `warn` is called with a sentence about each project that cannot be read, which is
    skipped.
    """
    found = []
    for file in root.glob(f"*/{FILE_NAME}"):
        try:
            project = _look_into(file.parent, fingerprint)
        except FileNotFoundError:
            continue  # removed meanwhile
        except Exception as error:  # one that is damaged must not hide the others
            warn(f"{file.parent}: this project was passed over. {error}")
        else:
            found += [project] if project is not None else []
    return sorted(found, key=lambda project: project.modified, reverse=True)


def recent_projects(root: Path, most: int = 8) -> list[RecentProject]:
    """Return the projects of the latest work, the latest first.

    Those without images, and those that cannot be read, are skipped.
    """
    files = sorted(
        root.glob(f"*/{FILE_NAME}"), key=lambda f: f.stat().st_mtime, reverse=True
    )
    found: list[RecentProject] = []
    for file in files:
        if len(found) == most:
            break
        with suppress(Exception):  # opening it says what is wrong with it
            project = ProjectFile.read(file.parent).project
            if project.images:
                names = tuple(image.name for image in project.images)
                modified = datetime.fromtimestamp(file.stat().st_mtime)
                found.append(RecentProject(file.parent, names, modified))
    return found


def lock(folder: Path, wait: float = _LOCK_WAIT_S) -> FileLock:
    """Lock a project against a second napari; the lock is released with this process.

    ProjectLockedError if it is open elsewhere, and was so for `wait` seconds;
    ValueError if the lock's name is taken by anything but a file, such as a link.
    """
    inside(folder, _LOCK_NAME)
    held = FileLock(folder / _LOCK_NAME, timeout=wait)
    try:
        # Some network drives have no locks: better to work without one.
        with suppress(NotImplementedError):
            held.acquire()
    except Timeout:
        raise ProjectLockedError(
            f"{folder}: the project is open in another napari window."
        ) from None
    return held


def is_locked(folder: Path) -> bool:
    """Whether a project is open elsewhere at this moment."""
    try:
        lock(folder, wait=0).release()
    except ProjectLockedError:
        return True
    except (OSError, ValueError):
        # removed, or it cannot be opened: opening it says why
        return False
    return False


def _look_into(folder: Path, fingerprint: str) -> FoundProject | None:
    """Return a project's work on an image; None if there is none."""
    kept = ProjectFile.read(folder)
    images = [i for i in kept.project.images if i.fingerprint == fingerprint]
    if kept.saved or not images:
        return None
    work = {i.id: _work(folder, i, kept) for i in kept.project.images}
    if not any(slices for slices, _ in work.values()):
        return None
    latest = max(
        f.stat().st_mtime for f in folder.iterdir() if f.suffix in (".json", ".raw")
    )
    return FoundProject(
        folder,
        kept.project.name,
        images[0].id,
        datetime.fromtimestamp(latest).astimezone(),
        *work[images[0].id],
        locked=is_locked(folder),
    )


def _block(along: float, size: int) -> slice:
    start = round(along * max(size - _SAMPLE, 0))
    return slice(start, min(start + _SAMPLE, size))


def _work(folder: Path, image: ProjectImage, kept: ProjectFile) -> tuple[int, int]:
    """Count annotated planes and objects of an image."""
    path = kept.annotation(folder, image.id)
    if path is None or not path.is_file() or not path.stat().st_size:
        return 0, 0
    inside(folder, log_of(path).name)
    axes, shape = image.annotation_axes, image.annotation_shape
    places, _ = known_places(path, axes, shape)
    array = np.asarray(reference(path, shape).open())
    slices, ids = 0, set[int]()
    for t, z in places:
        # a damaged file may hold anything
        found = distinct(np.maximum(array[field_index(axes, t, z)], UNKNOWN))
        slices += bool(found.any())
        ids.update(found[found >= FIRST_OBJECT].tolist())
    return slices, len(ids)
