"""Damage of files: of bytes, of JSON, of a safetensors header, of folders."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

_NUMBERS: tuple[Any, ...] = (0, -1, 1e300, -1e300, 2**63, 10**30, 0.5, 1e-300)
_OTHERS: tuple[Any, ...] = (
    *(
        "",
        "x" * 10_000,
        "../../canary/notes.txt",
        "/etc/passwd",
        "\x00\x1b[2J",
        "é\u202e",
    ),
    *(None, True, [], {}, [[]], [None], {"": 0}, "NaN", "0"),
)


def mutate_file(file: Path, rng: random.Random) -> str:
    """Damage a file in one way; say which."""
    data = file.read_bytes()
    if file.suffix == ".json" and rng.random() < 0.7:
        changed, how = mutate_text(data, rng)
    elif file.suffix == ".safetensors" and rng.random() < 0.7:
        changed, how = mutate_header(data, rng)
    else:
        changed, how = mutate_bytes(data, rng)
    file.write_bytes(changed)
    return f"{file.name}: {how}"


def mutate_folder(folder: Path, rng: random.Random) -> str:
    """Damage one file of a folder, or swap, remove or replace some."""
    # what is a link by now is not written through
    known = (f for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
    files = sorted(f for f in known if f.suffix != ".lock")
    file, other = rng.choice(files), rng.choice(files)
    how = rng.random()
    if how < 0.75:
        return mutate_file(file, rng)
    if how < 0.8:
        first, second = file.read_bytes(), other.read_bytes()
        file.write_bytes(second)
        other.write_bytes(first)
        return f"{file.name} and {other.name} swapped"
    file.unlink()
    if how < 0.88:
        return f"{file.name} removed"
    if how < 0.95:
        file.mkdir()
        return f"{file.name} is a folder"
    file.symlink_to(folder.parents[1] / "canary" / "notes.txt")
    return f"{file.name} is a link out of the folder"


def mutate_bytes(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Flip, cut, insert, move or blank bytes; half of the time near the beginning."""
    if not data:
        return bytes(rng.randrange(1, 99)), "zeros in an empty file"
    end = len(data) if rng.random() < 0.5 else min(len(data), 400)
    at, size = rng.randrange(end), rng.randrange(1, 64)
    what = rng.randrange(6)
    changed = bytearray(data)
    if what == 0:
        changed[at] ^= 1 << rng.randrange(8)
        return bytes(changed), f"bit at {at}"
    if what == 1:
        for _ in range(size):
            changed[rng.randrange(end)] = rng.randrange(256)
        return bytes(changed), f"{size} bytes before {end}"
    if what == 2:
        return data[:at], f"cut at {at}"
    if what == 3:
        return data[:at] + rng.randbytes(size) + data[at:], f"{size} more at {at}"
    if what == 4:
        value = rng.choice((0, 255))
        changed[at : at + 4 * size] = bytes([value]) * len(changed[at : at + 4 * size])
        return bytes(changed), f"{4 * size} bytes of {value} at {at}"
    part = data[at : at + size]
    return data[:at] + data[at + size :] + part, f"{size} bytes at {at} moved"


def mutate_text(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Change a field of JSON, its nesting or its encoding."""
    what = rng.random()
    if what < 0.08:
        return b'{"a":' * 2000 + b"1" + b"}" * 2000, "2,000 levels"
    if what < 0.12:
        return b"[" * 200_000, "200,000 brackets"
    if what < 0.2:
        at = rng.randrange(len(data))
        return data[:at] + b"\xff\xfe\xc0" + data[at:], f"no UTF-8 at {at}"
    value, how = mutate_json(json.loads(data), rng)
    return json.dumps(value).encode(), how


def mutate_json(value: Any, rng: random.Random) -> tuple[Any, str]:
    """Change one field anywhere, remove it, rename it or have it many times."""
    places = list(_places(value))
    if not places:
        return rng.choice(_OTHERS), "all of it"
    holder, key = rng.choice(places)
    what = rng.random()
    if what < 0.15:
        del holder[key]
        return value, f"{key} removed"
    if what < 0.2 and isinstance(holder, list):
        holder *= 20_000
        return value, f"{len(holder)} entries"
    if what < 0.25 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
        return value, f"{key} renamed"
    if what < 0.3:
        nested: Any = 1
        for _ in range(400):
            nested = [nested]
        holder[key] = nested
        return value, f"{key} of 400 levels"
    new = rng.choice(_NUMBERS if rng.random() < 0.5 else _OTHERS)
    holder[key] = new
    return value, f"{key} = {str(new)[:30]!r}"


def mutate_header(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Change the header of a safetensors file: its length, a tensor, or the card."""
    if rng.random() < 0.1:
        size = rng.choice((0, 2**63, len(data), 10**9, 7))
        return struct.pack("<Q", size) + data[8:], f"header of {size} bytes"
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    kept = header["__metadata__"]
    field = rng.choice(("card", "progress", "", ""))
    if field:
        text, how = mutate_text(kept[field].encode(), rng)
        kept[field] = text.decode(errors="replace")
    else:
        header, how = mutate_json(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :], f"{field} {how}"


def damaged_copy(
    source: Path, target: Path, rng: random.Random, damage: Callable[..., str]
) -> str:
    """Copy a file or folder, and damage the copy once or more often."""
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    times = 1 if rng.random() < 0.8 else 3
    return "; ".join(_again(target, rng, damage) for _ in range(times))


def _again(target: Path, rng: random.Random, damage: Callable[..., str]) -> str:
    try:
        return damage(target, rng)
    except (
        ValueError,
        OSError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
    ):
        # what was damaged before can no longer be read
        return "-"


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key in list(value):
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for number in range(min(len(value), 20)):
            yield value, number
            yield from _places(value[number])
