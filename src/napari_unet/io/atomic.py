"""Files that appear complete or not at all.

Every writer of the package writes under a temporary name in the folder of its target
and renames at the end: after a crash, a full disk or a cancelled job the old file is
still there and nothing half-written is.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep, time
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_STRAY = re.compile(r"\.napari-unet-[0-9a-f]{32}\.(part|old|try)")
STRAY_S = 86_400.0
"""Seconds after which a writer that has written nothing is dead: a day."""
# Windows refuses to replace or remove a file while a virus scanner or an indexer reads
# it: number of further tries, and seconds between them.
_TRIES, _PAUSE_S = 20, 0.05
# Length of paths of files and folders that Windows allows, unless configured otherwise,
# and its error where that of a folder is too long.
_LONGEST_WINDOWS, _LONGEST_FOLDER, _TOO_LONG = 259, 247, 206
# A failed write with fewer bytes left on the disk is taken for a full disk.
_FULL = 2**20
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the disk allows",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "writing there is not permitted",
    errno.EPERM: "writing there is not permitted",
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "its folder is a file",
    errno.EISDIR: "a folder of this name exists",
    errno.EEXIST: "a file of this name exists",
    errno.ENAMETOOLONG: "its name is too long",
}


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, renamed to it if the block succeeds.

    A file or folder of that name is replaced.

    Yields
    ------
    Path
        Where the block has to write, a file or a folder. It does not exist yet.

    Raises
    ------
    OSError
        The block, or the renaming, could not write; one sentence with the reason,
        `errno` is kept. Then, as after any other exception, what was written is
        removed and `path` is as before.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(f"{path}: is no file, and nothing is written in its place.")
    temporary = path.with_name(f".napari-unet-{uuid4().hex}.part")
    try:
        with explained(path, temporary):
            yield temporary
            flush(temporary)
            _move(temporary, path)
    finally:
        remove(temporary)


def write_text(path: str | Path, text: str, *, private: bool = False) -> None:
    """Write a text in UTF-8, `private` for this user alone; errors as `atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if private:
            temporary.chmod(0o600)


def move(source: Path, path: Path) -> None:
    """Rename a finished file or folder; an existing one is replaced.

    Both are on one disk, and the content was flushed before (`flush`). Errors are as of
    `atomic`; then both are as before.
    """
    with explained(path, source):
        _move(source, path)


@contextmanager
def explained(path: Path, temporary: Path) -> Iterator[None]:
    """Say in one sentence why `path` cannot be written by way of `temporary`."""
    try:
        yield
    except OSError as error:
        if not _came_from_writing(error, temporary):
            raise
        raise _in_words(f"{path}: cannot be written", error, path) from error


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, if it is missing.

    Raises
    ------
    OSError
        It cannot be made; one sentence with the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _in_words(
            f"{folder}: the folder cannot be made", error, folder
        ) from error


def check_writable(path: str | Path) -> None:
    """Find out before a long job whether its result can be written; errors as `atomic`.

    A file that is there is not touched.
    """
    trial = Path(path).with_name(f".napari-unet-{uuid4().hex}.try")
    try:
        trial.touch()
    except OSError as error:
        raise _in_words(f"{path}: cannot be written", error, trial) from error
    finally:
        remove(trial)


def check_separate(output: str | Path, inputs: Iterable[str | Path]) -> None:
    """Refuse to overwrite what a job reads.

    Raises
    ------
    ValueError
        If the output, which is written or replaced as a whole, is one of the inputs,
        lies in one, or has one in it. Links are followed, and names that differ only in
        case are the same where the disk says so.
    """
    target = Path(output).resolve()
    for given in inputs:
        source = Path(given).resolve()
        same = target.exists() and source.exists() and target.samefile(source)
        if target.is_relative_to(source) and target != source:
            raise ValueError(
                f"{output}: lies in what is read ({given}), where nothing is written; "
                "name another place to write to."
            )
        if same or source.is_relative_to(target):
            raise ValueError(
                f"{output}: is, or holds, what is read ({given}), and would be "
                "replaced; name another place to write to."
            )


def flush_file(file: Path) -> None:
    """Flush a file to the disk."""
    with file.open("r+b") as handle:
        os.fsync(handle.fileno())


def flush(path: Path) -> None:
    """Flush a file, or all files in a folder, to the disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if not file.is_dir():
            flush_file(file)


def remove_file(path: Path) -> None:
    """Remove a file; OSError if that is not possible."""
    _patiently(path.unlink)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        _await_zarr()
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _await_zarr() -> None:
    """Wait for the chunks that zarr still writes.

    Where one cannot be written zarr raises at once, while its threads continue with the
    others and recreate the folder that was just removed.
    """
    zarr = sys.modules.get("zarr.core.sync")
    if zarr is None or zarr.loop[0] is None:
        return  # nothing of it was written, or Python ends and its threads have ended
    import asyncio  # slow to import; zarr has

    async def others() -> None:
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*tasks, return_exceptions=True)

    zarr.sync(others())


def _move(source: Path, path: Path) -> None:
    # what was not flushed before a power cut may leave as a renamed empty file
    _rename(source, path)
    # Windows cannot open a folder, and some network drives cannot flush one: the
    # file itself is safe by now.
    with suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _came_from_writing(error: OSError, temporary: Path) -> bool:
    """Whether an error comes from writing, not from reading something else."""
    if error.filename is None:
        # a sentence of ours is about something else, unless it names what is written
        told = str(error)
        is_sentence = error.strerror is None and told.endswith(".")
        return not is_sentence or temporary.name in told
    # some libraries open files by their whole path
    name, ours = (os.path.abspath(os.fsdecode(p)) for p in (error.filename, temporary))
    return name.startswith(ours)


def _in_words(begin: str, error: OSError, path: Path) -> OSError:
    """Return the error as a sentence, with its `errno`."""
    in_words = OSError(f"{begin}, {_reason(error, path)}.")
    in_words.errno = error.errno
    return in_words


def _reason(error: OSError, path: Path) -> str:
    if error.errno is None:
        # numpy's tofile counts the bytes it lost and says nothing of the cause.
        with suppress(OSError):
            if shutil.disk_usage(path.parent).free < _FULL:
                return _REASONS[errno.ENOSPC]
        return f"the system tells no reason ({error})"
    # Windows reports a path that is too long as missing. It may be that of a temporary
    # file, or of a chunk, which is longer than the path of the result.
    names = (path, error.filename, error.filename2)
    lengths = [len(os.path.abspath(n)) for n in names if isinstance(n, str | Path)]
    is_folder = getattr(error, "winerror", None) == _TOO_LONG
    if sys.platform == "win32" and (is_folder or max(lengths) > _LONGEST_WINDOWS):
        return (
            f"a path for it would have {max(lengths)} characters and Windows takes "
            f"{_LONGEST_WINDOWS}, of a folder {_LONGEST_FOLDER}, unless long paths are "
            "switched on"
        )
    return _REASONS.get(error.errno, error.strerror or str(error))


def _rename(temporary: Path, path: Path) -> None:
    if not (temporary.is_dir() and path.exists()):
        _replace(temporary, path)
        return
    # No system replaces a folder with content in one step.
    aside = temporary.with_suffix(".old")
    _replace(path, aside)
    try:
        _replace(temporary, path)
    except OSError:
        _replace(aside, path)
        raise
    remove(aside)


def _replace(source: Path, target: Path) -> None:
    _patiently(lambda: os.replace(source, target))


def _patiently(act: Callable[[], None]) -> None:
    """Do something to a file; on Windows, wait a second for programs that read it."""
    for left in reversed(range(_TRIES if sys.platform == "win32" else 1)):
        try:
            act()
            return
        except PermissionError:
            if not left:
                raise
            sleep(_PAUSE_S)


def remove_at_once(path: Path) -> None:
    """Remove a folder; a kill meanwhile leaves no part of it in place, only a stray."""
    stray = path.with_name(f".napari-unet-{uuid4().hex}.old")
    with suppress(OSError):
        os.replace(path, stray)
        path = stray
    remove(path)


def remove_strays(folder: Path, age_s: float = STRAY_S) -> None:
    """Remove what killed writers left half-written in a folder.

    Only what is in it directly, and has not changed for `age_s` seconds: then its
    writer is gone.

    If a folder was moved aside and its replacement is there too, but neither has the
    name, both are complete: they stay.
    """
    with suppress(OSError):
        strays = [p for p in folder.iterdir() if _STRAY.fullmatch(p.name)]
        names = {stray.name for stray in strays}
        for stray in strays:
            pair = {stray.with_suffix(s).name for s in (".part", ".old")}
            if not pair <= names and time() - changed(stray) >= age_s:
                remove(stray)


def changed(path: Path) -> float:
    """Return when a file, or anything in a folder, changed last, in seconds."""
    times = [path.lstat().st_mtime]
    for file in path.rglob("*") if path.is_dir() else ():
        with suppress(FileNotFoundError):
            times.append(file.lstat().st_mtime)
    return max(times)
