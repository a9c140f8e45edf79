"""How a layer is interpreted: axes, channels and pixel size, and their sources.

The user's choice comes first, then the layer's metadata, then its file's, and last a
guess by the number of axes. Each choice is a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from napari_unet.core.geometry.boxes import axis_sizes
from napari_unet.core.images.image import AXES
from napari_unet.core.text import capitalised, counted, times
from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari.layers import Layer

    from napari_unet.session.images.source_files import FileMetadata

    # Along [z,] y, x; along y and x alone where that along z is unknown.
    _Spacing = tuple[float, ...] | None

# Pixel sizes that differ by less are the same, rounded.
_ALIKE = 0.01
_WORDS = {
    "t": ("time point", "time points"),
    "z": ("slice", "slices"),
    "c": ("channel", "channels"),
}
ONE_CHANNEL = "It is one of the channels"
"""Beginning of the note on a layer whose file has more channels."""

# Axes without channels, of a series of stacks.
_MOST_GUESSED = 4
# Samples that are kept of how many stored ones: without transparency, and of equal
# colours one.
_READ = {2: (1,), 3: (1,), 4: (1, 3)}


@dataclass(frozen=True, slots=True)
class Interpretation:
    """What the axes of a layer are."""

    axes: str  # a letter for each axis of the layer's data; c last for colours
    # along [z,] y, x; along y and x alone where that along z is unknown
    spacing_um: tuple[float, ...] | None
    # how many entries along c are channels; the rest is transparency or says the same
    # once more. None for all.
    samples: int | None
    summary: str  # the kind of image, a sentence
    # where axes and pixel size are from, then what else was chosen
    notes: tuple[str, ...]
    # whether the user has to see it: something was guessed, or contradicts
    doubtful: bool


class _Match(NamedTuple):
    """How a layer matches the metadata of its file.

    `stacked` is the axis along which several files were opened as one layer.
    """

    axes: str
    samples: int | None = None
    stacked: str = ""
    one_channel: bool = False


def interpret(
    layer: Layer, file: FileMetadata, axes: str | None = None, level: int = 0
) -> Interpretation:
    """Find out what the axes of an image layer are.

    ValueError if the layer has less than 2 or more than 5 axes, which its file does not
    explain.

    `file` is what its file says, `axes` the user's choice, `level` that of a multiscale
    layer.
    """
    match = _match(layer, file)
    from_file = "" if match is None else match.axes
    named = roles.named_axes(layer)
    chosen = axes or named or from_file
    # a single plane has no other axes
    guessed = not chosen and roles.guess_axes(layer) not in ("yx", "yxc")
    chosen = chosen or roles.guess_axes(layer)
    agreeing = match if match is not None and chosen == match.axes else None
    fits = _fits(layer, chosen)
    own = roles.spacing_um_of(layer, chosen, level) if fits else None
    said = _spacing(chosen, _sizes(layer, file, match, level))
    # a unit of the layer may come from a measurement, the file may only claim it
    spacing = own or said
    if axes and axes not in (named, from_file):
        origin = "as you chose"
    elif chosen == named and agreeing is None:
        origin = "named by the layer"
    elif agreeing is not None and agreeing.stacked:
        stacked = f"{agreeing.stacked} is a guess (files opened as a stack)"
        origin = f"from the file, but {stacked}"
    else:
        origin = "guessed by their number" if agreeing is None else "from the file"
    notes = [_origins(chosen, origin, own, spacing)]
    if file.problem:
        notes.append(f"The file has no axes or pixel size: {file.problem}")
    elif file.axes and match is None:
        notes.append(
            f"The layer has the shape {times(roles.level_shape(layer))}, its file "
            f"{times(file.shape)} ({file.axes}): so axes and pixel size are not taken "
            "from the file."
        )
    differs = _differ(own, said)
    if differs:
        size = " × ".join(f"{length:.3g}" for length in said or ())
        notes.append(f"The layer's pixel size is used; the file says {size} µm.")
    if match is not None and match.one_channel:
        notes.append(f"{ONE_CHANNEL} of {times(file.shape)} ({file.axes}).")
    samples = None if agreeing is None else agreeing.samples
    alpha = roles.level_shape(layer)[-1] == 4
    if samples is None and layer.rgb and not file.axes and alpha:
        samples = 3
        notes.append("Its transparency (alpha) is left out.")
    # How the file's axes were read does not matter to a user who names others.
    reading = file.notes if agreeing is not None or not axes else ()
    # the docks have no option for axes
    notes += [capitalised(re.sub(r"--axes (\w+)", r"axes \1", n)) for n in reading]
    odd = file.axes if match is None else match.stacked
    summary = ""
    if fits and {"y", "x"} <= set(chosen):
        shape = roles.level_shape(layer, level)
        channels = samples or axis_sizes(chosen, shape)["c"]
        summary = in_words(chosen, shape, channels, spacing)
    doubtful = guessed or differs or bool(reading or odd)
    return Interpretation(chosen, spacing, samples, summary, tuple(notes), doubtful)


def is_ambiguous(layer: Layer, file: FileMetadata) -> bool:
    """Whether an axis of a layer may be colour, slices or channels: the user says.

    Some programs write any three or four planes as the colours of one; and which of
    five axes are the channels is nothing to be guessed.
    """
    match = _match(layer, file)
    if match is None and not roles.named_axes(layer) and layer.ndim > _MOST_GUESSED:
        return True
    if layer.rgb or match is None or "c" not in match.axes or not file.notes:
        return False
    return axis_sizes(match.axes, roles.level_shape(layer))["c"] in (3, 4)


def in_words(
    axes: str, shape: tuple[int, ...], channels: int, spacing: _Spacing
) -> str:
    """Describe the kind of image.

    `axes` and `shape` have a letter and a length for each axis; `spacing` is in
    micrometres, as in `Interpretation`.
    """
    sizes = axis_sizes(axes, shape)
    parts = []
    for letter, (one, many) in _WORDS.items():
        number = channels if letter == "c" else sizes[letter]
        if number > 1 or (letter in axes and letter != "c"):
            parts.append(counted(number, one, many))
            if letter == "z" and spacing is not None:
                apart = f"{spacing[0]:.3g} µm" if len(spacing) == 3 else ""
                parts[-1] += f" {apart or 'an unknown distance'} apart"
    size = "unknown size"
    if spacing is not None:
        y, x = (f"{length:.3g}" for length in spacing[-2:])
        size = f"{y} µm" if y == x else f"{y} × {x} µm"
    pixels = f"{sizes['y']} × {sizes['x']} pixels of {size}"
    return ", ".join([*parts, pixels]) + "."


def _origins(axes: str, origin: str, own: _Spacing, spacing: _Spacing) -> str:
    """Say where axes and pixel size are from."""
    what = f"Axes {', '.join(axes)}"
    if spacing is None:
        return f"{what} {origin}."
    source = "from the file" if own is None else "from the layer"
    if origin == source:
        return f"{what} and pixel size {source}."
    return f"{what} {origin}; pixel size {source}."


def _fits(layer: Layer, axes: str) -> bool:
    fits = len(axes) == len(roles.level_data(layer).shape)
    return fits and (not layer.rgb or axes.endswith("c"))


def _match(layer: Layer, file: FileMetadata) -> _Match | None:
    """Match the axes of a layer with its file's; None if they do not match."""
    if not file.axes:
        return None
    sizes = axis_sizes(file.axes, file.shape)
    for match, expected in _possible(file.axes, sizes):
        found = _fitted(roles.level_shape(layer), match.axes, expected, layer.rgb)
        if found is not None:
            axes, samples = found
            return match._replace(axes=axes, samples=samples)
    return None


def _possible(
    axes: str, sizes: Mapping[str, int]
) -> Iterator[tuple[_Match, Mapping[str, int | None]]]:
    """Yield what a layer of a file may be, most likely first; None is any length."""
    yield _Match(axes), sizes
    if "c" in axes:
        yield _Match(axes.replace("c", ""), one_channel=True), sizes
    # colours that are equal, or with transparency, count as one channel
    else:
        yield _Match(axes + "c"), {**sizes, "c": 1}
    for letter in "zt":
        if letter not in axes and (letter == "t" or "t" not in axes):
            match = _Match(letter + axes, stacked=letter)
            yield match, {**sizes, letter: None}


def _fitted(
    shape: tuple[int, ...], axes: str, sizes: Mapping[str, int | None], rgb: bool
) -> tuple[str, int | None] | None:
    """Return the letters of a shape, which may have more axes of length one.

    And how many samples are channels, see `Interpretation`; None if it does not fit.
    """
    if rgb and not axes.endswith("c"):
        return None
    samples: int | None = None

    def same(length: int, letter: str) -> bool:
        nonlocal samples
        wanted = sizes[letter]
        if letter == "c" and wanted in _READ.get(length, ()):
            samples = wanted
            return True
        return wanted is None or length == wanted

    long = [n for n in shape if n != 1]
    letters = [a for a in axes if sizes[a] != 1 or a == "c"]
    if len(shape) == len(axes) and all(map(same, shape, axes)):
        return axes, samples
    if len(long) != len(letters) or not all(map(same, long, letters)):
        return None
    rest = [a for a in AXES if a not in letters]
    for extra in permutations(rest, len(shape) - len(long)):
        named, more = iter(letters), iter(extra)
        found = "".join(next(more if n == 1 else named) for n in shape)
        if roles.in_order(found):
            return found, samples
    return None


def _sizes(
    layer: Layer, file: FileMetadata, match: _Match | None, level: int
) -> dict[str, float]:
    """Return the size of a level's pixels along each axis of which the file says it."""
    if match is None:
        return {}
    finest = axis_sizes(match.axes, roles.level_shape(layer))
    coarse = axis_sizes(match.axes, roles.level_shape(layer, level))
    return {
        axis: size * finest[axis] / coarse[axis]
        for axis, size in file.sizes_um
        if axis in match.axes
    }


def _spacing(axes: str, sizes: Mapping[str, float]) -> _Spacing:
    spatial = [axis for axis in "zyx" if axis in axes]
    if all(axis in sizes for axis in spatial):
        return tuple(sizes[axis] for axis in spatial)
    if {"y", "x"} <= set(sizes):
        return sizes["y"], sizes["x"]
    return None


def _differ(one: _Spacing, other: _Spacing) -> bool:
    if one is None or other is None or len(one) != len(other):
        return False
    return any(abs(a / b - 1) > _ALIKE for a, b in zip(one, other, strict=True))
