"""Results of an image that come from another computer: a zip that is checked."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED, ZipFile

from napari_unet.core.text import shown
from napari_unet.io.atomic import flush, make_folder, move, remove
from napari_unet.io.folder_lock import temporary_folder
from napari_unet.io.prediction_folder import UNFINISHED
from napari_unet.io.records import is_file_name
from napari_unet.io.zips import OwnZip

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.io.prediction_folder import PredictionFolder


def pack_results(path: Path, folder: PredictionFolder, file: Path) -> None:
    """Write what a folder has of an image into a zip, uncompressed."""
    with ZipFile(path, "w", ZIP_STORED) as packed:
        for place in folder.places(file, folder.kinds):
            inner = sorted(place.rglob("*")) if place.is_dir() else [place]
            for one in (p for p in inner if p.is_file()):
                packed.write(one, one.relative_to(folder.folder).as_posix())


def place_results(
    path: Path,
    folder: PredictionFolder,
    file: Path,
    kinds: Sequence[str],
    *,
    complete: bool = True,
) -> None:
    """Bring results of some kinds into their folder, each whole or not at all.

    Raises
    ------
    ValueError
        The zip is damaged, holds something else than results of this image, or, if it
        is to be `complete`, not all that are wanted.
    OSError
        They cannot be written.
    """
    known = [p.relative_to(folder.folder) for p in folder.places(file, folder.kinds)]
    waiting = folder.folder / UNFINISHED
    make_folder(waiting)
    with temporary_folder(waiting) as come:
        OwnZip(path).unpack(lambda name: come / _checked(name, known))
        there = [kind for kind in kinds if (come / kind).exists()]
        if complete and len(there) < len(kinds):
            missing = ", ".join(kind for kind in kinds if kind not in there)
            raise ValueError(f"{file}: its {missing} did not come.")
        # notes before what they are of
        for target in reversed(folder.places(file, there)):
            found = come / target.relative_to(folder.folder)
            if found.exists():
                make_folder(target.parent)
                flush(found)
                move(found, target)
            elif target.parent.name in there:
                remove(target)  # what was replaced, with another suffix
    with suppress(OSError):
        waiting.rmdir()


def _checked(name: str, known: Sequence[Path]) -> str:
    """Return the name of an entry; a ValueError says that it is none of the known."""
    parts = name.split("/")
    place = next((k for k in known if parts[: len(k.parts)] == list(k.parts)), None)
    inner = place is not None and len(parts) > len(place.parts)
    if (
        place is None
        or (inner and place.suffix != ".zarr")
        or not all(map(is_file_name, parts))
    ):
        raise ValueError(f"what came holds {shown(name)}, which was not asked for.")
    return name
