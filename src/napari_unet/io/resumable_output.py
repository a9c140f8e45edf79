"""A large output in progress: its arrays, and which steps are done.

All of it is in a folder beside the output. A step is recorded once its data are on the
disk, so after a crash the work continues after the last one. The arrays are renamed
when all are complete; until then nothing can mistake them for results.

Other processes, also of other machines, may join a run by its id; they stop writing
once that run has ended.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from socket import gethostname
from time import sleep
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import numpy as np

from napari_unet.core.images.image import whole_key
from napari_unet.io.atomic import (
    atomic,
    explained,
    make_folder,
    move,
    remove,
    remove_at_once,
    write_text,
)
from napari_unet.io.ome_zarr import (
    CHUNK,
    check_replaceable,
    create_zarr,
    files_of_box,
    flush_box,
    open_written,
)
from napari_unet.io.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

_RECORD = "record.json"
_MADE_FROM = "made from"
_RESULT = "result"  # the provenance, for people
_RUN = "run"  # file with the id of the current run
_TABLES = "tables"
# Records per folder.
_TOGETHER = 1000
# Arrays that later steps read, which another machine may not see yet.
_READ_BACK = ("probabilities", "parts", "untracked")
# Seconds for which a network disk may not show a file that another machine wrote.
_HOLE_WAITS_S = (0.1, 1.0, 5.0, 15.0, 40.0)


class RunEndedError(Exception):
    """The run that a process had joined has ended; its work is not needed."""


class HoleError(OSError):
    """A part of an array that was written cannot be found."""


class ResumableOutput:
    """Work on large outputs that continues where it was interrupted.

    A context manager that holds the lock against other processes, see `io.folder_lock`.

    Parameters
    ----------
    folder : Path
        For this work only; on the disk of the outputs.
    made_from : mapping
        What the outputs depend on, as JSON values. The content of the folder is used
        only if it was made from the same.
    made : Provenance, optional
        Provenance to be written into the outputs.
    ways_out : str, optional
        What can be done about unfinished work that was made from something else, for
        the error that refuses it; by default that is removed.

    Raises
    ------
    FileExistsError
        On entering, if the folder exists and is not unfinished work, or with `ways_out`
        work with finished steps that was made from something else.
    OSError
        On entering, if nothing can be written.
    """

    def __init__(
        self,
        folder: Path,
        made_from: Mapping[str, Any],
        made: Provenance | None = None,
        ways_out: str | None = None,
    ) -> None:
        self.folder = folder
        told = None if made is None else asdict(made)
        record = {_MADE_FROM: made_from, _RESULT: told}
        self._record = json.loads(json.dumps(record))
        self._made, self._ways_out = made, ways_out
        self._attributes = None if made is None else made.attributes()
        self.run = uuid4().hex
        self._joined = False
        self.patience: Sequence[float] = ()  # waits for what another machine wrote

    @classmethod
    def joined(cls, folder: Path, run: str) -> Self:
        """Join a current run, without its lock.

        Methods that write or record raise `RunEndedError` once it has ended.
        """
        work = cls(folder, {})
        work.run, work._joined, work.patience = run, True, _HOLE_WAITS_S
        return work

    def __enter__(self) -> Self:
        found = self._found()
        if found is None or found[_MADE_FROM] != self._record[_MADE_FROM]:
            if found is not None and self._ways_out is not None and self.finished():
                raise FileExistsError(
                    f"{self.folder}: is unfinished work {self._difference(found)}; "
                    f"{self._ways_out}."
                )
            make_folder(self.folder.parent)
            with atomic(self.folder) as temporary:
                (temporary / "done").mkdir(parents=True)
                text = json.dumps(self._record, indent=2)
                (temporary / _RECORD).write_text(text, encoding="utf-8")
        self._write_run(self.run)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not any((self.folder / "done").iterdir()):
            discard(self.folder)  # there is nothing to go on with
        elif kind is not None:
            self.end_run()

    def end_run(self) -> None:
        """Stop the processes that joined the run from writing."""
        with suppress(OSError):
            self._write_run("")

    def check_run(self) -> None:
        """Raise `RunEndedError` if the run that was joined has ended."""
        if not self._joined:
            return
        try:
            now = (self.folder / _RUN).read_text(encoding="ascii")
        except FileNotFoundError:
            raise RunEndedError(
                f"{self.folder}: {gethostname()} does not see this work, or it was "
                "removed; see that all machines see the same disk."
            ) from None
        if now != self.run:
            raise RunEndedError(f"{self.folder}: the run has ended.")

    def _write_run(self, run: str) -> None:
        write_text(self.folder / _RUN, run)

    def is_done(self, step: str) -> bool:
        """Whether a step was recorded."""
        return self._note(step).exists()

    def finished(self) -> set[str]:
        """Return the recorded steps, in one read."""
        return {
            name
            for _, _, files in os.walk(self.folder / "done")
            for name in files
            if not name.startswith(".")
        }

    def done(self, step: str, **results: Any) -> None:
        """Record a step, with small arrays that later steps need."""
        self.check_run()
        note = self._note(step)
        if note.parent.name != "done":
            note.parent.mkdir(exist_ok=True)
        if not results:
            note.touch()
            return
        with atomic(note) as temporary, temporary.open("wb") as file:
            np.savez(file, **results)

    def results(self, step: str, *names: str) -> dict[str, NDArray[Any]]:
        """Return the arrays recorded with a step, the named ones or all."""
        with np.load(self._note(step)) as stored:
            return {name: stored[name] for name in names or stored.files}

    def write_table(self, name: str, parts: Iterator[NDArray[np.uint32]]) -> None:
        """Write numbers in sequence, to be read by `table`."""
        (self.folder / _TABLES).mkdir(exist_ok=True)
        path = self.folder / _TABLES / name
        with atomic(path) as temporary, temporary.open("wb") as file:
            for part in parts:
                part.astype("<u4", copy=False).tofile(file)

    def table(self, name: str, begin: int, end: int) -> NDArray[np.uint32]:
        """Return a slice of the numbers of a table."""
        return np.fromfile(
            self.folder / _TABLES / name,
            "<u4",
            count=end - begin,
            offset=4 * begin,
        ).astype(np.uint32, copy=False)

    def array(
        self,
        kind: str,
        target: Path,
        shape: Sequence[int],
        axes: str,
        dtype: DTypeLike,
        spacing_um: Sequence[float] | None = None,
        chunk: int = CHUNK,
        shard: Sequence[int] | None = None,
    ) -> LargeArray:
        """Return the array of an output, empty at first.

        Its name in this work is `kind`, and it will be at `target` when all is
        complete; a stored block is `chunk` pixels wide. The other parameters are as for
        `io.ome_zarr.create_zarr`. A process that joined the work opens the existing
        one.

        Raises
        ------
        FileExistsError
            Something other than a zarr image is at `target`.
        """
        check_replaceable(target)
        path = self._path(kind, target)
        if not path.exists() and self.is_done(f"complete-{kind}"):
            path = target  # it had been renamed before the crash
        elif not path.exists() and not self._joined:
            path.parent.mkdir(exist_ok=True)
            attributes = self._attributes
            with create_zarr(
                path, shape, axes, dtype, spacing_um, chunk, attributes, shard
            ):
                pass
        array = LargeArray(path, axes, zeros=kind in _READ_BACK)
        array.patience = self.patience
        array.before_write = self.check_run
        return array

    def publish(self, targets: Mapping[str, Path]) -> None:
        """Rename the complete arrays by kind, and remove everything else.

        Nothing is removed before all are renamed. If that fails, or is killed, every
        array that a recorded step has written is still there: for another selection of
        outputs it would be taken for written.
        """
        for kind in targets:
            self.done(f"complete-{kind}")
        self.end_run()  # a step that hung, and was repeated elsewhere, may still resume
        for kind, target in targets.items():
            if self._path(kind, target).exists():
                for half in self._path(kind, target).rglob("*.partial"):
                    remove(half)  # a chunk that zarr was writing when a kill came
                target.parent.mkdir(parents=True, exist_ok=True)
                move(self._path(kind, target), target)
        discard(self.folder)

    def _difference(self, found: Mapping[str, Any]) -> str:
        """Say how unfinished work, of which the record was found, is another."""
        told = None
        with suppress(KeyError, TypeError):  # the record of an older version
            before = Provenance(**found[_RESULT])
            told = None if self._made is None else before.difference(self._made)
        return told or "of another version of napari-unet"

    def _found(self) -> dict[str, Any] | None:
        """Return the record of the folder, None if there is none."""
        if not self.folder.exists():
            return None
        found = _record(self.folder)
        if found is None and not _is_debris(self.folder):
            raise FileExistsError(
                f"{self.folder}: is in the way and is no unfinished work of "
                "napari-unet, so it is not removed; move it away or use another folder."
            )
        return found

    def _note(self, step: str) -> Path:
        number = step.rpartition("-")[2]
        folder = self.folder / "done"
        if number.isdecimal() and int(number) >= _TOGETHER:
            folder /= str(int(number) // _TOGETHER)
        return folder / step

    def _path(self, kind: str, target: Path) -> Path:
        return self.folder / kind / target.name


class LargeArray:
    """An array on disk that is written box by box.

    With `zeros` zeros are written to files too, so that `whole` finds holes.
    """

    def __init__(self, path: Path, axes: str, *, zeros: bool = False) -> None:
        self.data = open_written(path, zeros=zeros)
        self.axes = axes
        self.patience: Sequence[float] = ()
        self.before_write: Callable[[], None] = lambda: None
        self._path = path

    @property
    def in_shards(self) -> bool:
        """Whether several chunks share a file: then a box should be written at once."""
        return self.data.shards is not None

    @property
    def whole(self) -> WholeArray:
        """A view for reading, where a missing part is a `HoleError`, not zeros."""
        return WholeArray(self)

    def check_written(self, index: Sequence[int | slice]) -> None:
        """Wait until all files of a box exist; a HoleError says that one does not."""
        files = list(files_of_box(self._path, self.data, index))
        for wait in (*self.patience, None):
            files = [file for file in files if not file.exists()]
            if not files:
                return
            if wait is not None:
                sleep(wait)
        raise HoleError(
            f"{files[0]}: is not there, although this part was written; see that all "
            "machines see the same disk."
        )

    def write(self, index: tuple[int | slice, ...], values: NDArray[Any]) -> None:
        """Write a box; it is on the disk when this returns.

        The values have its shape, but for axes of length one.
        """
        lengths = [
            len(range(*i.indices(n)))
            for i, n in zip(index, self.data.shape, strict=True)
            if isinstance(i, slice)
        ]
        self.write_part(index, values.reshape(lengths))
        self.flush(index)

    def write_part(self, index: tuple[int | slice, ...], values: NDArray[Any]) -> None:
        """Write a box that is flushed later, by `flush`."""
        self.before_write()
        with self._explained():
            self.data[index] = values

    def flush(self, index: tuple[int | slice, ...]) -> None:
        """Flush what was written to a box to the disk."""
        with self._explained():
            flush_box(self._path, self.data, index)

    def _explained(self) -> AbstractContextManager[None]:
        """Say in one sentence why writing to the array fails."""
        return explained(self._path, self._path)


class WholeArray:
    """An array on disk for reading, completely written."""

    def __init__(self, array: LargeArray) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.data.shape
        self.dtype: np.dtype[Any] = array.data.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        index = whole_key(key, len(self.shape))
        self._array.check_written(index)
        return np.asarray(self._array.data[index])


def discard(folder: Path) -> None:
    """Remove unfinished work, and its parent folder if empty."""
    remove_at_once(folder)
    with suppress(OSError):
        folder.parent.rmdir()


def discard_if_complete(folder: Path) -> None:
    """Remove what a kill left of work with complete outputs, and only that."""
    if folder.exists() and _record(folder) is not None:
        discard(folder)


def _is_debris(folder: Path) -> bool:
    """Whether a folder has only chunks, of arrays without metadata.

    A process that was writing one when the work was removed recreates the folders.
    """
    files = [p.relative_to(folder) for p in folder.rglob("*") if not p.is_dir()]
    return bool(files) and all(p.parts[2:4] == ("0", "c") for p in files)


def _record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a folder, None if it is not one of ours."""
    try:
        found = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _MADE_FROM in found else None
