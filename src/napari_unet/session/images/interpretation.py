"""How the layers of an image are taken: axes and pixel size, and where they are from.

What the person says comes first, then what the layer says, then what its file says,
and a guess by the number of axes last. Each choice is a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from napari_unet.core.images.image import AXES
from napari_unet.core.text import counted
from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari.layers import Layer

    from napari_unet.session.images.source_files import Told

# Pixel sizes that differ by less are the same, rounded.
_ALIKE = 0.01
_WORDS = {
    "t": ("time point", "time points"),
    "z": ("slice", "slices"),
    "c": ("channel", "channels"),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """How a layer is taken.

    Attributes
    ----------
    axes : str
        A letter for each axis of the layer's data; c last for colours.
    spacing_um : tuple of float or None
        Along [z,] y, x; along y and x alone where that along z is unknown.
    samples : int or None
        How many entries along c are channels; the rest is transparency or says the
        same once more. None for all.
    words : str
        What it is taken for, a sentence.
    notes : tuple of str
        Where axes and pixel size are from, then what else was chosen.
    doubtful : bool
        Whether a person has to be told: something was guessed, or does not agree.
    """

    axes: str
    spacing_um: tuple[float, ...] | None
    samples: int | None
    words: str
    notes: tuple[str, ...]
    doubtful: bool


class _Match(NamedTuple):
    """How a layer fits what its file tells: `stacked` is an axis of several files."""

    axes: str
    samples: int | None = None
    stacked: str = ""
    one_channel: bool = False


def take(layer: Layer, told: Told, axes: str | None = None, level: int = 0) -> Taken:
    """Tell how a layer is taken.

    Parameters
    ----------
    layer : Image layer
    told : Told
        What its file tells.
    axes : str, optional
        What the person says.
    level : int
        Of a multiscale layer.

    Raises
    ------
    ValueError
        The layer has less than 2 or more than 5 axes, and its file is no help.
    """
    match = _match(layer, told)
    named = roles.named_axes(layer)
    chosen = axes or named or (match.axes if match is not None else "")
    guessed = not chosen
    chosen = chosen or roles.guess_axes(layer)
    agrees = match is not None and chosen == match.axes
    sizes = _sizes(layer, told, match, level)
    own = roles.spacing_um_of(layer, chosen, level) if _fits(layer, chosen) else None
    spacing = own or _spacing(chosen, sizes)
    if axes and axes not in (named, match.axes if match is not None else None):
        whence = "as you chose"
    elif named and chosen == named and not agrees:
        whence = "named by the layer"
    elif match is not None and match.stacked and agrees:
        whence = f"from the file, but {match.stacked} (files opened as a stack)"
    elif agrees:
        whence = "from the file"
    else:
        whence = "guessed by their number"
    # a single plane has no other axes
    guessed = guessed and chosen not in ("yx", "yxc")
    notes = [_origin(chosen, whence, own, spacing)]
    if told.problem:
        notes.append(f"The file tells no axes or pixel size: {told.problem}")
    elif told.axes and match is None:
        notes.append(
            f"The layer has the shape {_by(_shape(layer))}, its file "
            f"{_by(told.shape)} ({told.axes}): so axes and pixel size are not taken "
            "from the file."
        )
    differs = own is not None and _differ(own, _spacing(chosen, sizes))
    if differs:
        notes.append(
            f"The layer's pixel size is used; the file says "
            f"{_lengths(_spacing(chosen, sizes))}."
        )
    if match is not None and match.one_channel:
        notes.append(f"It is one of the channels of {_by(told.shape)} ({told.axes}).")
    samples = match.samples if match is not None and agrees else None
    if samples is None and layer.rgb and not told.axes and _shape(layer)[-1] == 4:
        samples = 3
        notes.append("Its transparency (alpha) is left out.")
    # How the file's axes were read is nothing to a person who names others.
    chosen_in_reading = told.notes if agrees or not axes else ()
    notes += [_sentence(note) for note in chosen_in_reading]
    odd = match.stacked if match is not None else told.axes
    doubtful = guessed or differs or bool(chosen_in_reading or odd)
    words = _words(layer, chosen, level, samples, spacing)
    return Taken(chosen, spacing, samples, words, tuple(notes), doubtful)


def ambiguous(layer: Layer, told: Told) -> bool:
    """Whether an axis of a layer may be colour, slices or channels: so a person says.

    Some programs write any three or four planes as the colours of one.
    """
    match = _match(layer, told)
    if layer.rgb or match is None or "c" not in match.axes or not told.notes:
        return False
    return _shape(layer)[match.axes.index("c")] in (3, 4)


def channels_of(layer: Layer, told: Told) -> int:
    """Return how many channels a layer would have; 0 if its axes are unknown."""
    try:
        taken = take(layer, told)
    except ValueError:
        return 0
    sizes = dict(zip(taken.axes, _shape(layer), strict=True))
    return taken.samples or sizes.get("c", 1)


def in_words(
    axes: str,
    shape: tuple[int, ...],
    channels: int,
    spacing_um: tuple[float, ...] | None,
) -> str:
    """Say what an image is taken for.

    Parameters
    ----------
    axes : str
    shape : tuple of int
        A length for each axis.
    channels : int
    spacing_um : tuple of float or None
        As in `Taken`.
    """
    size = dict(zip(axes, shape, strict=True))
    parts = []
    for letter, (one, many) in _WORDS.items():
        number = channels if letter == "c" else size.get(letter, 0)
        if number > 1 or (letter in size and letter != "c"):
            parts.append(counted(number, one, many))
            if letter == "z" and spacing_um is not None:
                apart = f"{spacing_um[0]:.3g} µm" if len(spacing_um) == 3 else ""
                parts[-1] += f" {apart or 'an unknown distance'} apart"
    pixels = f"{size['y']} × {size['x']} pixels of {_size(spacing_um)}"
    return ", ".join([*parts, pixels]) + "."


def _size(spacing_um: tuple[float, ...] | None) -> str:
    """Write the size of pixels along y and x."""
    if spacing_um is None:
        return "unknown size"
    y, x = (f"{size:.3g}" for size in spacing_um[-2:])
    return f"{y} µm" if y == x else f"{y} × {x} µm"


def _words(
    layer: Layer,
    axes: str,
    level: int,
    samples: int | None,
    spacing: tuple[float, ...] | None,
) -> str:
    if not _fits(layer, axes) or not {"y", "x"} <= set(axes):
        return ""
    shape = tuple(int(n) for n in roles.level_data(layer, level).shape)
    channels = samples or dict(zip(axes, shape, strict=True)).get("c", 1)
    return in_words(axes, shape, channels, spacing)


def _origin(
    axes: str,
    whence: str,
    own: tuple[float, ...] | None,
    spacing: tuple[float, ...] | None,
) -> str:
    """Say where axes and pixel size are from."""
    what = f"Axes {', '.join(axes)}"
    if spacing is None:
        return f"{what} {whence}; no pixel size is known."
    source = "from the file" if own is None else "from the layer"
    if whence == source:
        return f"{what} and pixel size {source}."
    return f"{what} {whence}; pixel size {source}."


def _fits(layer: Layer, axes: str) -> bool:
    return len(axes) == len(_shape(layer)) and (not layer.rgb or axes.endswith("c"))


def _shape(layer: Layer) -> tuple[int, ...]:
    return tuple(int(n) for n in roles.level_data(layer).shape)


def _match(layer: Layer, told: Told) -> _Match | None:
    """Find out which axes of its file a layer has; None if it is something else."""
    if not told.axes:
        return None
    shape, size = _shape(layer), dict(zip(told.axes, told.shape, strict=True))
    for match, expected in _possible(told.axes, size):
        for axes, samples in _fitted(shape, match.axes, expected, layer.rgb):
            return match._replace(axes=axes, samples=samples)
    return None


def _possible(
    axes: str, size: Mapping[str, int]
) -> Iterator[tuple[_Match, Mapping[str, int | None]]]:
    """Yield what a layer of a file may be, the likeliest first; None is any length."""
    yield _Match(axes), size
    if "c" in axes:
        yield _Match(axes.replace("c", ""), one_channel=True), size
    # colours that are equal, or with transparency, count as one channel
    else:
        yield _Match(axes + "c"), {**size, "c": 1}
    for letter in "zt":
        if letter not in axes and (letter == "t" or "t" not in axes):
            meaning = {"z": "z is a guess", "t": "t is a guess"}[letter]
            yield _Match(letter + axes, stacked=meaning), {**size, letter: None}


def _fitted(
    shape: tuple[int, ...],
    axes: str,
    size: Mapping[str, int | None],
    rgb: bool,
) -> Iterator[tuple[str, int | None]]:
    """Yield the letters of a shape, which may have more axes of length one."""
    if rgb and not axes.endswith("c"):
        return
    samples: int | None = None

    def same(length: int, letter: str) -> bool:
        nonlocal samples
        wanted = size[letter]
        if letter == "c" and wanted in _READ.get(length, ()):
            samples = wanted
            return True
        return wanted is None or length == wanted

    long = [n for n in shape if n != 1]
    letters = [a for a in axes if size[a] != 1 or a == "c"]
    if len(shape) == len(axes) and all(map(same, shape, axes)):
        yield axes, samples
    elif len(long) == len(letters) and all(map(same, long, letters)):
        rest = [a for a in AXES if a not in letters]
        for extra in permutations(rest, len(shape) - len(long)):
            named, more = iter(letters), iter(extra)
            found = "".join(next(more if n == 1 else named) for n in shape)
            planar = found.replace("c", "")
            if planar == "".join(a for a in AXES if a in planar):
                yield found, samples
                return


# How many samples are read of so many stored ones: without transparency, and of equal
# colours one.
_READ = {2: (1,), 3: (1,), 4: (1, 3)}


def _sizes(
    layer: Layer, told: Told, match: _Match | None, level: int
) -> dict[str, float]:
    """Return the pixel size of each axis that the file tells, on a level."""
    if match is None:
        return {}
    finest = dict(zip(match.axes, _shape(layer), strict=True))
    coarse = dict(zip(match.axes, roles.level_data(layer, level).shape, strict=True))
    return {
        axis: size * finest[axis] / coarse[axis]
        for axis, size in told.sizes_um
        if axis in finest
    }


def _spacing(axes: str, sizes: Mapping[str, float]) -> tuple[float, ...] | None:
    spatial = [axis for axis in "zyx" if axis in axes]
    if all(axis in sizes for axis in spatial):
        return tuple(sizes[axis] for axis in spatial)
    if {"y", "x"} <= set(sizes):
        return sizes["y"], sizes["x"]
    return None


def _differ(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None or len(one) != len(other):
        return False
    return any(abs(a / b - 1) > _ALIKE for a, b in zip(one, other, strict=True))


def _lengths(spacing_um: tuple[float, ...] | None) -> str:
    return " × ".join(f"{size:.3g}" for size in spacing_um or ()) + " µm"


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _sentence(note: str) -> str:
    """Write a reader's note for the docks, where axes are no option of a command."""
    text = re.sub(r"--axes (\w+)", r"axes \1", note)
    return text[:1].upper() + text[1:]
