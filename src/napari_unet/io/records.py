"""JSON records of projects and runs; their content is not trusted.

Anybody may have written a project or a run that is opened. Names in it are never used
as paths, links are not followed, and each problem is one sentence.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator
from pydantic_core import from_json

from napari_unet.core.text import shown, unreadable

if TYPE_CHECKING:
    from pathlib import Path

# Names get suffixes, and disks allow 255 bytes.
_NAME_BYTES = 220
# More than any size, seed or setting, and within the range of single precision.
_HIGHEST = 1e38
# Bytes of a record: a million cells with a class each take a quarter.
_LARGEST = 2**26


def check_name(name: str) -> str:
    """Return a plain file name; a ValueError says, of anything else, what one is."""
    is_path = name in ("", ".", "..") or any(c in "/\\:" or c < " " for c in name)
    if is_path or len(name.encode("utf-8", "replace")) > _NAME_BYTES:
        raise ValueError(
            "should be the plain name of a file, without folders and colons and "
            f"of 1 to {_NAME_BYTES} bytes"
        )
    return name


FileName = Annotated[str, AfterValidator(check_name)]
"""Name of a file beside the record that names it."""


def is_file_name(name: str) -> bool:
    """Whether a text is a plain file name, not a path."""
    try:
        return bool(check_name(name))
    except ValueError:
        return False


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file by its name in a folder; it need not exist.

    Raises
    ------
    ValueError
        The name is a path, or something other than a file is there, such as a link.
    """
    try:
        path = folder / check_name(name)
    except ValueError as error:
        raise ValueError(f"{folder}: a file in it {error}, found {name!r}.") from None
    _check_file(path)
    return path


def is_real_folder(path: Path) -> bool:
    """Whether a folder exists, or could be made: nothing else has its name."""
    return not path.is_symlink() and (path.is_dir() or not path.exists())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileNotFoundError, OSError
        There is none, or it cannot be read.
    ValueError
        It is not a file, too large, or not JSON; one sentence.
    """
    _check_file(path)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    if len(text) > _LARGEST:
        raise ValueError(
            f"{path}: is damaged, it has more than {_LARGEST // 2**20} MiB."
        )
    return parse(text, str(path))


def parse(text: str | bytes, what: str) -> Any:
    """Parse a JSON text.

    Unlike the standard library's, this parser accepts any nesting.

    Raises
    ------
    ValueError
        It is not JSON, or has a number larger than any that is written; the sentence
        begins with `what` it is.
    """
    try:
        found = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"{what}: is damaged, it is no JSON ({error}).") from None
    left = [found]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, int | float) and not -_HIGHEST <= value <= _HIGHEST:
            raise ValueError(
                f"{what}: is damaged, it holds the number {shown(value)}; numbers up "
                f"to {_HIGHEST:g} are read."
            )
    return found


def private_folder(folder: Path) -> Path:
    """Make a folder, and its parents, that only this user can read."""
    if not folder.is_dir():
        private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _check_file(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no file"
        raise ValueError(f"{path}: is {kind}, and is not opened.")
