"""Locks for several processes that write into one folder.

A lock is released with the process that holds it, however that ends; what a killed one
leaves is removed by the next.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from tempfile import TemporaryDirectory, gettempdir
from time import sleep, time
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from filelock import FileLock, Timeout

from napari_unet.io.atomic import STRAY_S, changed, explained, make_folder, remove

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TRIES, _SECONDS = 600, 0.05
# Held by the process whose temporary folder it is in.
_HELD = "napari-unet.lock"


class BusyError(OSError):
    """Another process is working on the same."""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock file; it is removed at the end, and its folder if that is empty then.

    Raises
    ------
    BusyError
        Another process holds it.
    OSError
        It cannot be written; one sentence with the reason.
    """
    lock = FileLock(file)
    for _ in range(_TRIES):
        make_folder(file.parent)
        try:
            lock.acquire(timeout=0)
            break
        except Timeout as error:
            raise BusyError(f"{file}: another process is at work on it.") from error
        except OSError:
            # another process may have removed the folder just now, when it was empty
            if file.parent.exists():
                with explained(file, file):
                    raise
    try:
        yield
    finally:
        # while it is held: a process that waits for it finds it gone and makes a new
        # one
        with suppress(OSError):
            file.unlink()
        lock.release()
        if sys.platform == "win32":  # no open file can be removed there
            with suppress(OSError):
                file.unlink()
        with suppress(OSError):
            file.parent.rmdir()


@contextmanager
def temporary_folder(
    where: Path | None = None, prefix: str = "napari-unet-far-"
) -> Iterator[Path]:
    """Yield a new folder that is removed at the end; by default in that of the system.

    What processes that were killed have left there of such folders is removed before.
    """
    parent = Path(gettempdir()) if where is None else where
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            _remove_left(folder)
    with (
        TemporaryDirectory(dir=parent, prefix=prefix) as made,
        locked(Path(made) / _HELD),
    ):
        yield Path(made)


def _remove_left(folder: Path) -> None:
    """Remove a temporary folder of ours whose process is dead.

    That is so if nobody holds its lock, and nothing in it has changed for a day, as
    locks of some network disks are not seen by other computers. An OSError says that it
    stays.
    """
    own = getattr(os, "getuid", lambda: None)()
    stat = folder.lstat()
    if own not in {None, stat.st_uid} or not S_ISDIR(stat.st_mode):
        return  # anybody may write into the folder of the system
    if time() - changed(folder) < STRAY_S:
        return
    lock = folder / _HELD
    if not lock.is_file():
        folder.rmdir()  # it was killed before it had the lock; else it is not ours
        return
    with locked(lock):
        remove(folder)


class Claim:
    """A run's claim of a folder: a note of how it makes results, while it runs.

    A context manager. Runs that make results in the same way may work side by side.
    `note` exists as long as the run goes on.

    Raises
    ------
    BusyError
        On entering, if a run that makes them in another way is working.
    OSError
        On entering, if nothing can be written.
    """

    def __init__(self, folder: Path, makes: Mapping[str, Any]) -> None:
        self._folder = folder
        self._makes = json.loads(json.dumps(makes))
        self.note = folder / f"napari-unet-run-{uuid4().hex}.json"
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with self._alone():
            notes = f"napari-unet-run-{'[0-9a-f]' * 32}.json"
            for note in sorted(self._folder.glob(notes)):
                self._compare(note)
            with explained(self.note, self.note):
                self.note.write_text(json.dumps(self._makes), encoding="utf-8")
            self._held.callback(remove, self.note)
            self._held.enter_context(locked(self.note.with_suffix(".lock")))
        return self

    def __exit__(self, *_: object) -> None:
        with self._alone():
            self._held.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other runs from beginning or ending meanwhile."""
        with ExitStack() as held:
            for left in reversed(range(_TRIES)):
                try:
                    held.enter_context(locked(self._folder / "napari-unet-runs.lock"))
                    break
                except BusyError:
                    if not left:
                        raise
                    sleep(_SECONDS)
            yield

    def _compare(self, note: Path) -> None:
        try:
            with locked(note.with_suffix(".lock")):
                remove(note)  # its process was killed
        except BusyError as error:
            if json.loads(note.read_text(encoding="utf-8")) != self._makes:
                raise BusyError(
                    f"{self._folder.parent}: another run is at work in this folder "
                    "now, with another model or other settings; wait for its end, or "
                    "use another folder."
                ) from error
