"""JSON files of other programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_unet.core.text import printable, unreadable
from napari_unet.io.records import parse

if TYPE_CHECKING:
    from pathlib import Path

# Half a million outlines; as Python objects they take some 20 times as much memory.
_LARGEST = 2**29


def load(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises
    ------
    FileNotFoundError, OSError
        There is none, or it cannot be read.
    ValueError
        It is too large, or no JSON.
    """
    what = printable(path)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"{what}: there is no such file.") from None
    except OSError as error:
        raise unreadable(path, error) from error
    if len(text) > _LARGEST:
        raise ValueError(
            f"{what}: is larger than the {_LARGEST // 2**20} MiB of JSON that are read."
        )
    return parse(text.removeprefix(b"\xef\xbb\xbf"), what)


def text(value: Any) -> str:
    """Return a value as compact JSON; NaN is refused, as JSON does not have it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
