"""The folder for arrays that live as long as a viewer does.

A lock marks it as in use. It ends with the process, on whatever machine or in whatever
container that runs: numbers of processes mean nothing outside their own.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING
from uuid import uuid4

from filelock import FileLock, Timeout

from napari_unet.io.records import private_folder

if TYPE_CHECKING:
    from pathlib import Path

# A folder without a lock, or on a disk that knows none, is left by then.
_ABANDONED_S = 7 * 86_400.0


class Scratch:
    """A folder of its own in a folder that all viewers of a person share.

    Those that no living process holds are removed. OSError if it cannot be made.
    """

    def __init__(self, around: Path) -> None:
        private_folder(around)
        _remove_abandoned(around)
        self.folder = around / uuid4().hex
        self.folder.mkdir(mode=0o700)
        self._lock = FileLock(_lock_of(self.folder), timeout=0)
        with suppress(NotImplementedError):
            self._lock.acquire()

    def close(self) -> None:
        """Remove it; what others still have mapped stays until they let go."""
        _remove(self.folder, self._lock)


def _remove_abandoned(around: Path) -> None:
    for folder in around.iterdir():
        if folder.is_symlink() or not folder.is_dir():
            continue
        path = _lock_of(folder)
        with suppress(OSError):
            if path.is_symlink() or not path.exists():
                # of an older version, or just being made
                changed = max(p.stat().st_mtime for p in (folder, *folder.iterdir()))
                if time() - changed > _ABANDONED_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            lock = FileLock(path, timeout=0)
            with suppress(Timeout, NotImplementedError):
                lock.acquire()
                _remove(folder, lock)


def _remove(folder: Path, lock: FileLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    with suppress(OSError):
        _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
