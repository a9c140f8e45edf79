"""Grey values to the range the network is used to, once per frame.

Each channel of a frame is shifted and scaled by its own statistics. Which, is the rule
that a model was trained with, and that its card names. By the rule "structure" they are
the same for a crop, the frame, and the frame in an empty rim. By "frame", the rule of
models made before there was another, cells that cover little of a frame are clipped.
Networks of other programs have theirs in steps (`grey_steps`).

The result is the same for 8-, 12- and 16-bit copies of an image, up to their rounding.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.core.images.grey_steps import GreySteps, ZScore
from napari_unet.core.images.image import LARGEST, within_reach
from napari_unet.core.images.structure import (
    SQUARE,
    Overview,
    Structure,
    find_structure,
)
from napari_unet.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.images.image import Field, Image

    # low, high, mean and sd of a channel, and an empty rim: see `GreyScale`
    Channel = tuple[float, float, float, float, tuple[float, float] | None]

Frame = tuple[int, int | None]
"""Time point and slice; None for all slices."""

Rule = Literal["structure", "frame"]
Normalisation = Rule | GreySteps
RULES: dict[Rule, str] = {
    "structure": "ground and structure, each with a fixed share, where structure is",
    "frame": "clip 0.1 and 99.9 percentiles, mean 0, sd 1, per frame",
}

_PERCENTILES = (0.1, 99.9)
# Larger frames are not held in memory, and blocks spread over them stand for the whole.
_ENOUGH = 2**22
_BLOCK = 256
# Blocks are read in larger ones, side by side, where all of a frame is read.
_READ = 2048
# So many pixels of a channel are enough for its statistics.
_PIXELS = 2**19
# Share of structure, whatever it covers: about that of nuclei in a usual image.
_STRUCTURE = 0.2
# Structure is what is further from the ground than this share of the usual distance.
_FAR = 1 / 2
# Debris and dead cells cover less than the rest of this percentile.
_USUAL = 97
# Deviations in shares of the mean: float32 has some ten steps in the first, and float64
# none in the second.
_RESOLVED, _ROUNDING = 1e-6, 1e-10
# Distances beyond this multiple of the median distance are cut off.
_MOST = 3


@dataclass(frozen=True, slots=True)
class GreyScale:
    """How to map the grey values of one frame, channel by channel."""

    low: tuple[float, ...]  # values are clipped to this ...
    high: tuple[float, ...]  # ... and this
    mean: tuple[float, ...]  # of the clipped values
    sd: tuple[float, ...]
    # Value of an empty rim and what it is replaced by; None, or nothing at all, without
    # a rim.
    empty: tuple[tuple[float, float] | None, ...] = ()
    # sd of what `apply` gives, where it is not 1 and was asked for
    spread: tuple[float, ...] = ()

    def apply(self, block: NDArray[Any]) -> NDArray[np.float32]:
        """Bring a block, shape (channels, ...), to mean 0 and sd 1 of its frame."""
        shape = (-1, *(1,) * (block.ndim - 1))
        low, high, mean, sd = (
            np.asarray(v, np.float32).reshape(shape)
            for v in (self.low, self.high, self.mean, self.sd)
        )
        grey = np.clip(block.astype(np.float32), low, high)
        for number, rim in enumerate(self.empty):
            if rim is not None:
                grey[number][block[number] == rim[0]] = rim[1]
        grey -= mean
        grey /= sd
        return grey


def frame_of(field: Field, rule: Normalisation) -> Frame:
    """Return of which frame a plane or volume is: what is measured as one."""
    alone = isinstance(rule, GreySteps) and rule.each_slice
    return field.t, field.z if alone else None


def measure(
    image: Image,
    t: int = 0,
    rule: Normalisation = "structure",
    z: int | None = None,
    *,
    spread: bool = False,
) -> GreyScale:
    """Measure the grey values of a frame: one slice, or all of a time point.

    `rule` is that of the model; `spread` asks for the sd that it leads to, if not 1. A
    ValueError says that a value that was read is NaN or infinite, with any rule but
    "frame" any of the frame, that values differ by too little for their size, or that
    the image has too few channels for the rule.
    """
    if (known := image.scales.get((t, z))) is not None:
        return known
    planes = [f for f in image.fields(2) if f.t == t and z in (None, f.z)]
    if isinstance(rule, GreySteps):
        return _by_steps(image, planes, rule, spread=spread)
    if rule == "frame":
        channels = [_of_all(v) for v in _sample(image, planes)]
    else:
        channels = [_of_structure(*found) for found in _structure(image, planes)]
    low, high, mean, sd, empty = zip(*channels, strict=True)
    _check_precision(image, mean, sd)
    # a constant channel carries nothing: map it to 0
    sd = tuple(
        1.0 if s < _RESOLVED * max(abs(m), 1e-30) else s
        for m, s in zip(mean, sd, strict=True)
    )
    return GreyScale(low, high, mean, sd, empty)


def _check_precision(
    image: Image, mean: tuple[float, ...], sd: tuple[float, ...]
) -> None:
    """Refuse grey values whose differences would be lost in the float32 computed with.

    Those of real numbers may be as small as rounding makes them: then they are none.
    """
    dtype = np.dtype(image.data.dtype)
    if np.can_cast(dtype, np.float32, "safe"):
        return
    least = _ROUNDING if dtype.kind == "f" else 0.0
    for number, (m, s) in enumerate(zip(mean, sd, strict=True), start=1):
        if least * abs(m) < s < _RESOLVED * abs(m):
            where = f"channel {number} has" if len(mean) > 1 else "it has"
            raise ValueError(
                f"{printable(image.name)}: {where} grey values that differ by some "
                f"{s:.2g} at {m:.10g}, less than 32 bits can hold; subtract {m:.10g} "
                "from them first."
            )


def in_words(rule: Normalisation) -> str:
    """Return what a rule does, for people."""
    return rule.words if isinstance(rule, GreySteps) else f"{rule}: {RULES[rule]}"


def check_finite(
    image: Image, values: NDArray[Any], at: Mapping[str, int] | None = None
) -> None:
    """Refuse values of an image that are NaN, infinite or beyond `LARGEST`.

    With `at`, the first pixel along t, z, y and x of what is a part (channels, [z,] y,
    x), the ValueError says where one is.
    """
    if values.dtype.kind != "f":
        return
    good = within_reach(values)
    if good.all():
        return
    found = ""
    if at is not None:
        index = np.argwhere(~good)[0]
        axes = "c" + "zyx"[4 - values.ndim :]
        places = {
            **at,
            **{a: at.get(a, 0) + i for a, i in zip(axes, index, strict=True)},
        }
        named = [f"{a}={places[a]}" for a in "tzcyx" if a in image.axes and a in places]
        found = f", found {values[tuple(index)]} at {', '.join(named)}"
    raise ValueError(
        f"{printable(image.name)}: the image has NaN or infinite values, or some "
        f"beyond {LARGEST:g}{found}; replace them by numbers first."
    )


def _by_steps(
    image: Image, planes: list[Field], rule: GreySteps, *, spread: bool
) -> GreyScale:
    """Measure all of a frame; of a large one anew for each step."""
    height, width = planes[0].shape
    small = height * width * len(planes) <= _ENOUGH

    def read() -> Iterator[NDArray[np.float64]]:
        for plane in planes:
            for y in range(0, height, _READ):
                for x in range(0, width, _READ):
                    box = (
                        slice(y, min(y + _READ, height)),
                        slice(x, min(x + _READ, width)),
                    )
                    block = plane.read(box)
                    at = {"t": plane.t, "z": plane.z or 0, "y": y, "x": x}
                    check_finite(image, block, at)
                    yield block.reshape(image.channels, -1).astype(np.float64)

    held = [np.concatenate([*read()], axis=1)] if small else []
    if not small and image.data.dtype.kind == "f":
        deque(read(), maxlen=0)  # no step may read, yet all values must be numbers

    def blocks() -> Iterable[NDArray[np.float64]]:
        return held or read()

    scale = rule.scale(image.channels, blocks)
    low, high, mean, sd = (tuple(map(float, part)) for part in scale.parts)
    found = np.abs(ZScore().after(scale, blocks).sd / scale.sd) if spread else ()
    return GreyScale(low, high, mean, sd, spread=tuple(map(float, found)))


def _of_all(values: NDArray[np.float64]) -> Channel:
    """Mean and deviation of the clipped values."""
    low, high = _range(values)
    clipped = np.clip(values, low, high)
    return low, high, float(clipped.mean()), float(clipped.std()), None


def _of_structure(values: NDArray[np.float64], structure: Structure) -> Channel:
    """Mean and deviation as if structure had a fixed share of the clipped values."""
    low, high = _range(values)
    clipped = np.clip(values, low, high)
    ground = np.median(clipped)
    distance = np.abs(clipped - ground)
    # fine structure differs by more than the squares that it was found by
    usual = np.minimum(distance, np.percentile(distance, _USUAL) or distance.max())
    cubes, squares = float((usual**3).sum()), float((usual**2).sum())
    typical = max(structure.typical, cubes / (squares or 1))
    far = distance > _FAR * typical
    rim = None
    if structure.empty is not None:
        # dark ground is empty, also where cells cover more than half
        rim = structure.empty, float(np.percentile(clipped, 25))
    if not far.any() or far.all():
        return low, high, float(clipped.mean()), float(clipped.std()), rim
    # debris and dead cells are several times as bright
    most = _MOST * np.median(distance[far])
    clipped = np.clip(clipped, ground - most, ground + most)
    parts = ((1 - _STRUCTURE, clipped[~far]), (_STRUCTURE, clipped[far]))
    mean = sum(share * float(part.mean()) for share, part in parts)
    square = sum(share * float(((part - mean) ** 2).mean()) for share, part in parts)
    return low, high, mean, square**0.5, rim


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, _PERCENTILES))
    if low == high:
        # so few pixels differ from the rest that they would count as hot ones
        low, high = float(values.min()), float(values.max())
    return low, high


def _structure(
    image: Image, planes: list[Field]
) -> Iterator[tuple[NDArray[np.float64], Structure]]:
    """Yield grey values of where a frame has structure, channel by channel."""
    height, width = planes[0].shape
    small = height * width * len(planes) <= _ENOUGH
    # read once where it fits into memory
    held = [plane.read() for plane in planes] if small else []

    def read(z: int, y: int, x: int, size: int) -> NDArray[Any]:
        box = slice(y, min(y + size, height)), slice(x, min(x + size, width))
        return held[z][:, *box] if held else planes[z].read(box)

    squares = (len(planes), -(-height // SQUARE), -(-width // SQUARE))
    views = [Overview.empty(squares) for _ in range(image.channels)]
    for z in range(len(planes)):
        for y in range(0, height, _READ):
            for x in range(0, width, _READ):
                block = read(z, y, x, _READ)
                at = {"t": planes[z].t, "z": z, "y": y, "x": x}
                check_finite(image, block, at)
                for view, channel in zip(views, block, strict=True):
                    view.put(z, y // SQUARE, x // SQUARE, channel)
    for number in range(image.channels):
        structure = find_structure(views[number])
        side, found = _BLOCK // SQUARE, []
        for z, row, column in _spread(_blocks(structure.mask, side)):
            block = read(z, row * _BLOCK, column * _BLOCK, _BLOCK)[number]
            part = structure.mask[z, row * side :, column * side :][:side, :side]
            chosen = part.repeat(SQUARE, axis=0).repeat(SQUARE, axis=1)
            found.append(block[chosen[: block.shape[0], : block.shape[1]]])
        values = np.concatenate(found)
        # odd, so as not to fall in step with the columns
        yield values[:: len(values) // _PIXELS | 1].astype(np.float64), structure


def _blocks(squares: NDArray[np.bool_], side: int) -> NDArray[np.intp]:
    """Return the blocks with a true square, `side` squares wide: rows of z, y, x."""
    size = [(0, 0), *((0, -n % side) for n in squares.shape[1:])]
    z, y, x = np.pad(squares, size).shape
    parts = np.pad(squares, size).reshape(z, y // side, side, x // side, side)
    return np.argwhere(parts.any(axis=(2, 4)))


def _spread(blocks: NDArray[np.intp]) -> NDArray[np.intp]:
    """Choose evenly among blocks if they are too many to be read."""
    most = min(_ENOUGH // _BLOCK**2, len(blocks))
    chosen: NDArray[np.intp] = blocks[
        np.linspace(0, len(blocks) - 1, most).round().astype(int)
    ]
    return chosen


def _sample(image: Image, planes: list[Field]) -> NDArray[np.float64]:
    """Return grey values of a frame, shape (channels, n), by the rule "frame"."""
    height, width = planes[0].shape
    if height * width * len(planes) <= _ENOUGH:
        blocks = [plane.read() for plane in planes]
    else:
        count = _ENOUGH // _BLOCK**2
        share = np.linspace(0, 1, count)
        # a golden-ratio walk spreads the blocks evenly over slices, rows and columns
        y = ((share * 0.618034 * count) % 1 * max(height - _BLOCK, 0)).astype(int)
        x = (share * max(width - _BLOCK, 0)).astype(int)
        z = ((share * 0.754878 * count) % 1 * len(planes)).astype(int)
        blocks = [
            planes[k].read(
                (slice(i, min(i + _BLOCK, height)), slice(j, min(j + _BLOCK, width)))
            )
            for k, i, j in zip(z, y, x, strict=True)
        ]
    values = np.concatenate(
        [b.reshape(image.channels, -1) for b in blocks], axis=1, dtype=np.float64
    )
    check_finite(image, values)
    return values
