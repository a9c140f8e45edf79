"""Upload of results to an object store as soon as they are complete."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.events import BlockDone, FilePredicted
from napari_unet.engine.file_problem import problem_of
from napari_unet.io.folder_lock import temporary_folder
from napari_unet.io.provenance import check_ours
from napari_unet.io.records import is_file_name
from napari_unet.io.remote import download, sizes, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.io.prediction_folder import PredictionFolder

# The description of an OME-Zarr, which tells what it was made from.
_DESCRIBED = "zarr.json"


def uploaded(
    events: Iterator[Event],
    folder: PredictionFolder,
    url: str,
    *,
    overwrite: bool = False,
) -> Iterator[Event]:
    """Pass events on; before the last event of a file its results are copied.

    Names under the URL are those in the folder, of notes, too. `BlockDone` reports the
    progress; an OSError says that a result cannot be copied. Where something else is
    there, it is a problem of the file: with `overwrite`, only results of this program
    are replaced.
    """
    for event in events:
        if isinstance(event, FilePredicted) and event.problem is None:
            file = Path(event.path)
            try:
                yield from _copied(file, folder, url.rstrip("/"), overwrite)
            except FileExistsError as error:
                yield replace(event, problem=problem_of(file, error))
                continue
        yield event


def _copied(
    file: Path, folder: PredictionFolder, url: str, overwrite: bool
) -> Iterator[BlockDone]:
    """Copy the results of a file, each before its note."""
    urls = {
        place: f"{url}/{place.relative_to(folder.folder).as_posix()}"
        for place in folder.places(file, folder.kinds)
        if place.exists()
    }
    for result in folder.results(file):
        note = folder.note_of(result)
        told = None if note is None else urls.get(note)
        _check_replaceable(result, urls[result], told, overwrite)
    for place, target in urls.items():
        for share in upload(place, target):
            yield BlockDone("upload", share)


def _check_replaceable(
    result: Path, url: str, note: str | None, overwrite: bool
) -> None:
    """Refuse, with a FileExistsError, to replace something else by a result.

    `note` is the URL of its note, if its format cannot hold the provenance.
    """
    there = sizes(url)
    if there.items() <= sizes(result).items():
        return  # nothing, or what an upload of this result has brought
    if not overwrite:
        raise FileExistsError(
            f"{url}: is there already and is not this result; upload to another URL or "
            "use --overwrite."
        )
    names = {name for name in there if all(map(is_file_name, name.split("/")))}
    if result.is_file():
        names = {""} & there.keys()
    elif note is None:
        names &= {_DESCRIBED}
    with temporary_folder() as folder:
        copy, told = folder / result.name, folder / "note.json"
        if result.is_dir():
            copy.mkdir()
        download(url, copy, names)
        if note is not None:
            download(note, told, {""} & sizes(note).keys())
        try:
            check_ours(copy, None if note is None else told)
        except FileExistsError as error:
            raise FileExistsError(str(error).replace(str(copy), url)) from None
