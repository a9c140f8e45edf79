"""A large output while it is made: its arrays, and which steps of the work are done.

All of it is in a folder beside the output. A step is noted once what it wrote is on the
disk, so after a crash the work goes on after the last one. The arrays get their names
when all are complete; until then nothing can take them for results.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_unet.io.atomic import (
    atomic,
    explained,
    make_folder,
    move,
    remove,
    remove_at_once,
)
from napari_unet.io.ome_zarr import (
    CHUNK,
    check_replaceable,
    create_zarr,
    flush_box,
    open_written,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from napari_unet.io.provenance import Provenance

_RECORD = "record.json"
_MADE_FROM = "made from"


class ResumableOutput:
    """Work on large outputs that goes on where it was interrupted.

    A context. Whoever enters it holds the lock that keeps other processes away, see
    `io.folder_lock`.

    Parameters
    ----------
    folder : Path
        For this work alone; on the disk of the outputs.
    made_from : mapping
        What the outputs depend on, as JSON can hold it. What is in the folder is used
        only if it was made from the same.
    made : Provenance, optional
        What is written into the outputs about what they were made from.

    Raises
    ------
    FileExistsError
        On entering, if the folder is there and is no unfinished work.
    OSError
        On entering, if nothing can be written.
    """

    def __init__(
        self,
        folder: Path,
        made_from: Mapping[str, Any],
        made: Provenance | None = None,
    ) -> None:
        self.folder = folder
        self._record = json.loads(json.dumps({_MADE_FROM: made_from}))
        self._attributes = None if made is None else made.attributes()

    def __enter__(self) -> Self:
        found = self._found()
        if found != self._record:
            make_folder(self.folder.parent)
            with atomic(self.folder) as temporary:
                (temporary / "done").mkdir(parents=True)
                text = json.dumps(self._record, indent=2)
                (temporary / _RECORD).write_text(text, encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not any((self.folder / "done").iterdir()):
            discard(self.folder)  # there is nothing to go on with

    def is_done(self, step: str) -> bool:
        """Whether a step was noted."""
        return self._note(step).exists()

    def done(self, step: str, **results: Any) -> None:
        """Note a step, with small arrays that later steps need."""
        if not results:
            self._note(step).touch()
            return
        with atomic(self._note(step)) as temporary, temporary.open("wb") as file:
            np.savez(file, **results)

    def results(self, step: str) -> dict[str, NDArray[Any]]:
        """Return the arrays noted with a step."""
        with np.load(self._note(step)) as stored:
            return dict(stored)

    def array(
        self,
        kind: str,
        target: Path,
        shape: Sequence[int],
        axes: str,
        dtype: DTypeLike,
        spacing_um: Sequence[float] | None = None,
        chunk: int = CHUNK,
    ) -> LargeArray:
        """Return the array of an output, empty at first.

        It is one of this work's by the name `kind`, and will be at `target` when all is
        complete; a stored block is `chunk` pixels wide. The other parameters are as for
        `io.ome_zarr.create_zarr`.

        Raises
        ------
        FileExistsError
            There is something else than a zarr image at `target`.
        """
        check_replaceable(target)
        path = self._path(kind, target)
        if not path.exists() and self.is_done(f"complete-{kind}"):
            path = target  # it had got its name before the crash
        elif not path.exists():
            path.parent.mkdir(exist_ok=True)
            attributes = self._attributes
            with create_zarr(path, shape, axes, dtype, spacing_um, chunk, attributes):
                pass
        return LargeArray(path, axes)

    def publish(self, targets: Mapping[str, Path]) -> None:
        """Give the complete arrays their names, by kind, and remove everything else."""
        for kind in targets:
            self.done(f"complete-{kind}")
        for other in list(self.folder.iterdir()):
            if other.is_dir() and other.name not in {"done", *targets}:
                remove_at_once(other)
        for kind, target in targets.items():
            if self._path(kind, target).exists():
                for half in self._path(kind, target).rglob("*.partial"):
                    remove(half)  # a chunk that zarr was writing when a kill came
                target.parent.mkdir(parents=True, exist_ok=True)
                move(self._path(kind, target), target)
        discard(self.folder)

    def _found(self) -> Any:
        """Return the record of what is in the folder, None if it is not there."""
        if not self.folder.exists():
            return None
        found = _record(self.folder)
        if found is None:
            raise FileExistsError(
                f"{self.folder}: is in the way and is no unfinished work of "
                "napari-unet, so it is not removed; move it away or use another folder."
            )
        return found

    def _note(self, step: str) -> Path:
        return self.folder / "done" / step

    def _path(self, kind: str, target: Path) -> Path:
        return self.folder / kind / target.name


class LargeArray:
    """An array on disk that is written box by box."""

    def __init__(self, path: Path, axes: str) -> None:
        self.data = open_written(path)
        self.axes = axes
        self._path = path

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
        """Write a box that is brought to the disk later, by `flush`."""
        with self._explained():
            self.data[index] = values

    def flush(self, index: tuple[int | slice, ...]) -> None:
        """Bring what was written to a box to the disk."""
        with self._explained():
            flush_box(self._path, self.data, index)

    def _explained(self) -> AbstractContextManager[None]:
        """Say in one sentence why writing to the array fails."""
        return explained(self._path, self._path)


def discard(folder: Path) -> None:
    """Remove what is left of unfinished work, and the folder around it if empty."""
    remove_at_once(folder)
    with suppress(OSError):
        folder.parent.rmdir()


def discard_if_complete(folder: Path) -> None:
    """Remove what a kill left of work whose outputs are all there, and only that."""
    if folder.exists() and _record(folder) is not None:
        discard(folder)


def _record(folder: Path) -> dict[str, Any] | None:
    """Return what a folder says of itself, None if it is none of ours."""
    try:
        found = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _MADE_FROM in found else None
