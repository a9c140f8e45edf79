"""Words in sentences: numbers of things, names of files, reasons of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Characters of a value, and of what another program says is wrong.
_SHOWN, _LONGEST_REASON = 80, 400


def printable(name: object) -> str:
    """Escape, as Python does, what moves the cursor or has no sign, as names may."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(name))


def encodable(name: object) -> str:
    """Escape bytes of a name that are no letters, which no record can hold."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def counted(number: int, word: str, words: str = "") -> str:
    """Return "1 cell" or "2 cells"; `words` where these are not `word` with an s."""
    return f"{number} {word if number == 1 else words or word + 's'}"


def listed(words: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """Return the first of some words, and how many more there are."""
    more = len(words) - most
    return between.join(words[:most]) + (f" and {more} more" if more > 0 else "")


def capitalised(words: str) -> str:
    """Return words with a capital first letter, as a sentence begins."""
    return words[:1].upper() + words[1:]


def place_words(axes: str, t: int, z: int) -> list[str]:
    """Return "time 3" and "slice 5" of a plane, as far as its image has such axes."""
    named = (("t", f"time {t}"), ("z", f"slice {z}"))
    return [words for axis, words in named if axis in axes]


def shown(value: object, most: int = _SHOWN) -> str:
    """Return a value that a file or a person gave, as short as a sentence bears."""
    try:
        text = str(value)
    except ValueError:  # a number of more digits than Python writes
        return "a number too long to be written"
    return printable(text[:most]) + (" …" if len(text) > most else "")


def duration(seconds: float) -> str:
    """Return a duration as "0:42" or "1:05:00"; a negative one is 0."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def times(size: Sequence[int]) -> str:
    """Return a size along several axes, as in "3 × 4"."""
    return " × ".join(map(str, size))


def pip_install(extra: str) -> str:
    """Return the command that installs this program with one of its extras."""
    # not above: words are needed where the package of that name has replaced ours, too
    from napari_unet import DISTRIBUTION

    # not single quotes: they mean nothing to the command prompt of Windows
    return f'pip install "{DISTRIBUTION}[{extra}]"'


def lacking(what: str, package: str | None, extra: str) -> ModuleNotFoundError:
    """Return the error of `what`, such as "an ONNX needs", where a package misses."""
    return ModuleNotFoundError(
        f"{what} the package {package}, which {pip_install(extra)} brings.",
        name=package,
    )


def reason(error: Exception) -> str:
    """Return the first line of what an error says, or its kind, without full stop.

    Some repeat all of what they stumbled over.
    """
    lines = str(error).splitlines() or [type(error).__name__]
    return shown(lines[0], _LONGEST_REASON).rstrip(".")


def unreadable(path: object, error: OSError) -> OSError:
    """Return the error of a file that the system does not let be read, as a sentence.

    It keeps the number of the system's error.
    """
    why = error.strerror or reason(error)
    in_words = OSError(f"{printable(path)}: cannot be read, {why}.")
    in_words.errno = error.errno
    return in_words


def sentence(error: Exception) -> str:
    """Return what an error says; what the system says in words and numbers as one."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    where = "" if error.filename is None else f"{printable(error.filename)}: "
    return f"{where}{error.strerror.lower()}."
