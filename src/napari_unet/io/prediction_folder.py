"""A folder of predictions: the path of each, and whether it is up to date."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from unicodedata import normalize
from uuid import uuid4

from napari_unet.core.text import printable, sentence
from napari_unet.io.atomic import (
    check_separate,
    flush,
    make_folder,
    move,
    remove,
    remove_strays,
    write_text,
)
from napari_unet.io.folder_lock import BusyError, Claim, locked
from napari_unet.io.names import image_name, split_number
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.io.ome_zarr import is_marked
from napari_unet.io.provenance import (
    check_ours,
    read_note,
    read_provenance,
    write_note,
)
from napari_unet.io.remote import is_in_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_unet.io.provenance import Provenance

KINDS = ("probabilities", "classes", "instances")
# The kind of networks that make images, instead of these.
IMAGE = "image"
TABLE, POINTS = "table", "points"
# Made from the instances: measurements, points, and files for other programs.
OF_CELLS = (TABLE, POINTS, *FORMATS)
_EVERY = (*KINDS, IMAGE, *OF_CELLS)
RECORD = "prediction.json"
UNFINISHED = "unfinished"
_NOTES = "made"
_LONGEST = 255  # bytes of the longest file name

_NOTE = "The last complete run; each result tells itself what it was made from."


class PredictionFolder:
    """A folder with a subfolder for each kind of output, and one for unfinished ones.

    `kinds` are the requested ones of `KINDS` and `OF_CELLS`, or `IMAGE` for a network
    that makes images; `ways_out` is what the user can do if something else is in the
    way.
    """

    def __init__(
        self,
        folder: Path,
        kinds: tuple[str, ...] = KINDS,
        ways_out: str = "use another folder or --overwrite",
    ) -> None:
        self.folder = folder
        self.kinds = kinds
        self.ways_out = ways_out

    def missing(
        self, file: Path, made: Provenance, *, overwrite: bool = False
    ) -> tuple[str, ...]:
        """Return the kinds of output that have to be made of an image.

        With `overwrite` existing results are made again.

        Raises
        ------
        FileExistsError
            Something else is there: the result of another image, model or setting,
            without `overwrite`, or not a result of this program.
        """
        return tuple(
            kind
            for kind in self.kinds
            if not any(
                self._is_there(t, made, overwrite) for t in self._targets(file, kind)
            )
        )

    def target(self, file: Path, kind: str, *, large: bool = False) -> Path:
        """Return the path of an output of an image.

        An array is an OME-Zarr if the image is one, or if it is too large for memory.
        """
        in_blocks = large or is_in_folder(split_number(file)[0])
        suffix = ".zarr" if in_blocks else ".tif"
        if kind in OF_CELLS:
            suffix = FORMATS[kind].suffixes[0] if kind in FORMATS else ".csv"
        return self.folder / kind / (image_name(file) + suffix)

    def remove_other(self, file: Path, kind: str, *, large: bool) -> None:
        """Remove the output that a new one replaced, with another suffix."""
        for other in self._targets(file, kind):
            if other != self.target(file, kind, large=large):
                remove(other)

    def results(self, file: Path) -> list[Path]:
        """Return the existing outputs of an image."""
        every = (t for kind in self.kinds for t in self._targets(file, kind))
        return [target for target in every if target.exists()]

    def without_results(self, files: Sequence[Path]) -> list[Path]:
        """Return those of some images that are not results of this program."""
        return [
            file
            for file in files
            if not any(self._is_result(file, kind) for kind in (UNFINISHED, *_EVERY))
        ]

    def places(self, file: Path, kinds: Sequence[str]) -> list[Path]:
        """Return the possible paths of outputs of an image, each before its note."""
        found = []
        for target in (t for kind in kinds for t in self._targets(file, kind)):
            note = self.note_of(target)
            found += [target] if note is None else [target, note]
        return found

    def note_of(self, result: Path) -> Path | None:
        """Return the path of the note on a result, None if the result tells itself."""
        return self._note(result) if result.parent.name in OF_CELLS else None

    def ready_target(self, file: Path, kind: str) -> Path:
        """Return the path of an output; its folder is made."""
        target = self.target(file, kind)
        make_folder(target.parent)
        return target

    @contextmanager
    def placed(self, file: Path, kind: str, made: Provenance) -> Iterator[Path]:
        """Yield a path for an output whose format cannot hold its provenance.

        It is renamed when the block ends, after its provenance was noted in the folder.
        A ValueError or OSError of the block names it by its final name.
        """
        target = self.ready_target(file, kind)
        # of its own, as two may make it at a time; a killed one's is a stray
        own = self._waiting(kind) / f".napari-unet-{uuid4().hex}.part"
        temporary = own / target.name
        make_folder(own)
        try:
            yield temporary
            note = self._note(target)
            make_folder(note.parent)
            write_note(note, temporary, made)
            flush(temporary)
            move(temporary, target)
        except (ValueError, OSError) as error:
            said = sentence(error).replace(printable(temporary), printable(target))
            kind_of = OSError if isinstance(error, OSError) else ValueError
            raise kind_of(said) from error
        finally:
            remove(own)
            for folder in (own.parent, own.parent.parent):
                with suppress(OSError):
                    folder.rmdir()

    def there(self, file: Path, kind: str, made: Provenance) -> Path | None:
        """Return the path of an up-to-date output, None if there is none."""
        for target in self._targets(file, kind):
            with suppress(FileExistsError):
                if self._is_there(target, made, overwrite=False):
                    return target
        return None

    def unfinished(self, file: Path) -> Path:
        """Return the folder of unfinished outputs of an image that take long."""
        return self.folder / UNFINISHED / image_name(file)

    @contextmanager
    def at_work(self, file: Path, *, alone: bool = True) -> Iterator[None]:
        """Lock an image against other processes.

        Not `alone`, it goes on beside one that has the lock: then both have to make the
        same results, each of which appears as a whole.

        Raises
        ------
        BusyError
            On entering, if another one is working on it.
        """
        lock = f"napari-unet-{_short(image_name(file))}.lock"
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.folder / UNFINISHED / lock))
            except BusyError:
                if alone:
                    raise
            yield

    @contextmanager
    def claimed(self, makes: Mapping[str, Any]) -> Iterator[Path]:
        """Claim the folder for a run; yield the note of the `io.folder_lock.Claim`.

        A folder that did not exist before is removed if nothing was written.
        """
        new = not self.folder.exists()
        make_folder(self.folder)
        try:
            with Claim(self.folder / UNFINISHED, makes) as claim:
                folders = [self.folder / n for n in ("", UNFINISHED, IMAGE, *KINDS)]
                for folder in (*folders, *map(self._waiting, OF_CELLS)):
                    remove_strays(folder)
                yield claim.note
        finally:
            if new:
                for folder in (*(self.folder / k for k in self.kinds), self.folder):
                    with suppress(OSError):
                        folder.rmdir()

    def note(self, run: Mapping[str, Any]) -> None:
        """Note, for people, what the last run used; nothing depends on it.

        A file of another program with that name stays.
        """
        record = self.folder / RECORD
        if record.exists() and not _is_note(record):
            return
        text = json.dumps({"note": _NOTE, **run}, indent=2)
        with suppress(OSError):
            write_text(record, text)

    def check_targets(self, files: Sequence[Path]) -> None:
        """Refuse to overwrite input, before anything is computed.

        Raises
        ------
        ValueError
            If an output is one of the images, lies in one or in another OME-Zarr, or
            has one in it.
        FileExistsError
            If there is a file where results need a folder.
        """
        inside = [UNFINISHED, *self.kinds]
        if not set(OF_CELLS).isdisjoint(self.kinds):
            notes = (f"{_NOTES}/{kind}" for kind in self.kinds if kind in OF_CELLS)
            inside += [_NOTES, *notes]
        for folder in (self.folder / name for name in inside):
            if folder.exists() and not folder.is_dir():
                raise FileExistsError(
                    f"{folder}: is a file, and a folder of this name is needed for "
                    "results; move it away or write to another place."
                )
        sources = [split_number(file)[0] for file in files]
        resolved = [source.resolve() for source in sources]
        for kind in self.kinds:
            where = (self.folder / kind).resolve()
            near = [
                source
                for source, path in zip(sources, resolved, strict=True)
                if path.is_relative_to(where) or where.is_relative_to(path)
            ]
            for file, source in zip(files, sources, strict=True):
                for target in self._targets(file, kind):
                    check_separate(target, {source, *near})
        for around in (self.folder, *self.folder.absolute().parents):
            if is_marked(around):
                raise ValueError(
                    f"{self.folder}: lies in the OME-Zarr {around}, where nothing is "
                    "written; name another place to write to."
                )

    def _targets(self, file: Path, kind: str) -> list[Path]:
        """Return the possible paths of an output: its suffix depends on its size."""
        both = (self.target(file, kind, large=large) for large in (False, True))
        return list(dict.fromkeys(both))

    def _note(self, target: Path) -> Path:
        """Return the path of the note with an output's provenance."""
        name = f"{target.name}.json"
        if len(os.fsencode(name)) > _LONGEST:
            name = f"{_short(target.name)}.json"
        return self.folder / _NOTES / target.parent.name / name

    def _waiting(self, kind: str) -> Path:
        """Return the folder of outputs until they are renamed."""
        return self.folder / UNFINISHED / f"napari-unet-{kind}"

    def _is_result(self, file: Path, kind: str) -> bool:
        """Whether an image is a result of a kind, or lies in one."""
        folder, path = self.folder / kind, split_number(file)[0].resolve()
        if not path.is_relative_to(folder.resolve()):
            return False
        if kind == UNFINISHED:
            return True
        # people may have images in a folder of this name
        target = folder.joinpath(*path.relative_to(folder.resolve()).parts[:1])
        note = self.note_of(target)
        made = read_note(note, target) if note else read_provenance(target)
        return made is not None

    def _is_there(self, target: Path, wanted: Provenance, overwrite: bool) -> bool:
        """Whether a result exists and need not be made."""
        if not (target.exists() or target.is_symlink()):
            return False
        note = self.note_of(target)
        check_ours(target, note)
        found = read_note(note, target) if note else read_provenance(target)
        if overwrite or found is None:
            return False
        if difference := found.difference(wanted):
            raise FileExistsError(
                f"{target}: is there already and is a result {difference}; "
                f"{self.ways_out}."
            )
        return True


def distinct_files(files: Sequence[Path]) -> list[Path]:
    """Return the images, each once, however its path is written.

    Raises
    ------
    ValueError
        If two have the same name, so that their outputs would overwrite each other.
    """
    by_name: dict[str, Path] = {}
    for file in files:
        name = image_name(file)
        # on their disks names that differ only in case, and on that of a Mac in how é
        # is written, are the same
        folded = name.casefold() if sys.platform in ("win32", "darwin") else name
        folded = normalize("NFC", folded) if sys.platform == "darwin" else folded
        other = by_name.setdefault(folded, file)
        if _same(other, file):
            continue
        raise ValueError(
            f"{other} and {file} have the same name, {image_name(file)!r}, and would "
            "overwrite each other; predict them into different folders."
        )
    return list(by_name.values())


def _short(name: str) -> str:
    """Shorten a name."""
    return sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]


def _same(first: Path, second: Path) -> bool:
    (one, number), (other, same) = split_number(first), split_number(second)
    return number == same and one.resolve() == other.resolve()


def _is_note(record: Path) -> bool:
    try:
        note = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(note, dict) and {"model", "sha256", "prediction"} <= note.keys()
