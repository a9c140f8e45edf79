"""The sizes of all maps of a network: its halo, valid sizes, crops, memory and work.

An operation starts at the first pixel of the map that it reads and keeps only what has
seen real pixels, so a map has a size, an origin and a scale along each axis. Where maps
meet, each is cut to what all of them have. A size is valid if nothing is left over.
Maps that are `padded` keep their size instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import lcm, prod
from typing import TYPE_CHECKING

from napari_unet.core.network.layers import JOINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.network.layers import Drawing, Layer

# A size that has room for any network, and what no network needs: each step costs time.
_LARGE, _LARGEST_STEP = 2**20, 2**12


class _LeftOver(Exception):
    """A size is none that a layer can take."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a map lies along one axis."""

    # in pixels of the map
    size: int
    # of its first pixel, and pixels in one of its own: in pixels of the input
    origin: int
    scale: int

    @property
    def end(self) -> int:
        """Where the next map would begin, in pixels of the input."""
        return self.origin + self.size * self.scale


@dataclass(frozen=True, slots=True)
class Axis:
    """A network along one axis, at its smallest input."""

    # shifts of the input that the network commutes with, in pixels
    step: int
    # border lost on each side, in pixels
    halo: int
    # of all maps for the smallest input with an output
    extents: tuple[Extent, ...]

    @property
    def min_output(self) -> int:
        """Smallest output, in pixels."""
        return self.extents[0].size - 2 * self.halo

    def size(self, layer: int, output: int) -> int:
        """Return the size of a map for an output of the network."""
        extent = self.extents[layer]
        return extent.size + (output - self.min_output) // extent.scale


class Trace:
    """What follows from the layers of a network, for windows of any size."""

    def __init__(self, drawing: Drawing, *, padded: bool) -> None:
        self.layers = tuple(drawing.layers)
        self.output = drawing.scores
        self._axes = tuple(
            _axis(self.layers, self.output, axis, padded=padded)
            for axis in range(drawing.ndim)
        )
        self.step = tuple(axis.step for axis in self._axes)
        self.halo = tuple(axis.halo for axis in self._axes)
        self.min_output = tuple(axis.min_output for axis in self._axes)

    def extents(self, layer: int) -> tuple[Extent, ...]:
        """Return where a map lies along each axis, for the smallest input."""
        return tuple(axis.extents[layer] for axis in self._axes)

    def size(self, layer: int, output: Sequence[int]) -> tuple[int, ...]:
        """Return the size of a map for an output of the network, in its pixels."""
        return tuple(
            axis.size(layer, n) for axis, n in zip(self._axes, output, strict=True)
        )

    def margins(self, layer: int, source: int) -> tuple[tuple[int, int], ...]:
        """Return what a join cuts from each end of each axis of a map that it reads."""
        return tuple(
            (
                (here.origin - whole.origin) // here.scale,
                (whole.end - here.end) // here.scale,
            )
            for here, whole in zip(
                self.extents(layer), self.extents(source), strict=True
            )
        )

    @cached_property
    def last_margins(self) -> tuple[tuple[int, int], ...]:
        """Pixels cut from each end of the output, so that both sides lose the halo."""
        return tuple(
            (axis.halo - last.origin, last.end - (axis.extents[0].size - axis.halo))
            for axis, last in zip(self._axes, self.extents(self.output), strict=True)
        )

    def targets(
        self, layer: int, output: Sequence[int]
    ) -> tuple[tuple[slice, slice], ...]:
        """Return where a coarser map and an output of the network lie on each other.

        For each axis a slice of the map, and one of the output that takes as many of
        its pixels: those in the middle of what a pixel of the map sees.
        """
        found = []
        for axis, n in zip(self._axes, output, strict=True):
            here, size = axis.extents[layer], axis.size(layer, n)
            lost_after = n + 2 * axis.halo - here.origin - size * here.scale
            middle = (here.scale - 1 + lost_after - here.origin) // 2
            middle = here.origin + min(max(middle, 0), here.scale - 1)
            first = max(-((middle - axis.halo) // here.scale), 0)
            start = middle - axis.halo + first * here.scale
            count = max(min(size - first, -((start - n) // here.scale)), 0)
            found.append(
                (
                    slice(first, first + count),
                    slice(start, start + count * here.scale, here.scale),
                )
            )
        return tuple(found)

    @cached_property
    def last_use(self) -> tuple[int, ...]:
        """For each map the last layer that reads it, itself if there is none.

        Layers behind the output are run in training only and do not count.
        """
        last = list(range(len(self.layers)))
        for number, layer in enumerate(self.layers[: self.output + 1]):
            for source in layer.inputs:
                last[source] = number
        return tuple(last)

    def flops(self, output: Sequence[int]) -> float:
        """Count the multiplications of the convolutions for a tile's output."""
        work = 0.0
        for number, layer in enumerate(self.layers[: self.output + 1]):
            if layer.op == "attention":
                work += 2.0 * layer.width * prod(self.size(number, output)) ** 2
            if layer.op not in ("conv", "up_conv"):
                continue
            taps = float(prod(layer.kernel))
            if layer.op == "up_conv":
                # so many of its taps reach each output pixel
                taps /= prod(layer.stride)
            width = self.layers[layer.inputs[0]].width
            work += prod(self.size(number, output)) * taps * width * layer.width
        return work

    def peak_values(self, output: Sequence[int]) -> int:
        """Estimate how many numbers are alive at once while a tile is computed."""
        alive = peak = 0
        held: dict[int, int] = {}
        for number, layer in enumerate(self.layers[: self.output + 1]):
            held[number] = prod(self.size(number, output)) * layer.width
            alive += held[number]
            peak = max(peak, alive + self._matrices(number, output))
            for source in {*layer.inputs, number}:
                if self.last_use[source] <= number and source != self.output:
                    alive -= held.pop(source, 0)
        return peak

    def kept_values(self, output: Sequence[int]) -> int:
        """Return a number of values that a step of training keeps at the least.

        The input of each convolution and attention has to wait for the gradient.
        """
        read = {
            layer.inputs[0]
            for layer in self.layers
            if layer.op in ("conv", "up_conv", "attention")
        }
        return sum(
            prod(self.size(source, output)) * self.layers[source].width
            for source in read
        ) + sum(self._matrices(n, output) for n in range(len(self.layers)))

    def _matrices(self, number: int, output: Sequence[int]) -> int:
        """Count what an attention has for each pair of places, and others have not."""
        heads = self.layers[number].heads
        return heads and heads * prod(self.size(number, output)) ** 2


def _axis(layers: Sequence[Layer], output: int, axis: int, *, padded: bool) -> Axis:
    """Find the valid sizes along an axis: one residue modulo the step, all from one on.

    Sizes of the maps grow with the input's: by step / scale pixels for each step.
    """
    step = lcm(*_scales(layers, axis))
    if step > _LARGEST_STEP:
        raise ValueError(
            f"this network reduces maps {step} times, at most {_LARGEST_STEP} are "
            "possible."
        )
    for residue in range(step):
        size = _LARGE // step * step + residue
        try:
            extents = _extents(layers, axis, size, padded=padded)
        except _LeftOver:
            continue
        break
    else:
        raise ValueError("there is no size that all layers of this network can take.")
    last = extents[output]
    halo = max(last.origin, size - last.end)
    spare = [(e.size - 1) // (step // e.scale) for e in extents]
    smaller = min(*spare, (size - 2 * halo - 1) // step) * step
    return Axis(
        step,
        halo,
        tuple(Extent(e.size - smaller // e.scale, e.origin, e.scale) for e in extents),
    )


def _scales(layers: Sequence[Layer], axis: int) -> list[int]:
    scales: list[int] = []
    for layer in layers:
        scale = scales[layer.inputs[0]] if layer.inputs else 1
        if layer.stride:
            reduces = layer.op in ("conv", "crop", "max_pool", "mean_pool")
            factor = layer.stride[axis]
            scale = scale * factor if reduces else scale // factor
        scales.append(scale)
    return scales


def _extents(
    layers: Sequence[Layer], axis: int, size: int, *, padded: bool
) -> list[Extent]:
    extents: list[Extent] = []
    for layer in layers:
        if layer.op == "input":
            extents.append(Extent(size, 0, 1))
        elif layer.op in JOINS:
            extents.append(_common([extents[x] for x in layer.inputs]))
        elif layer.stride:
            extents.append(_changed(layer, axis, extents[layer.inputs[0]], padded))
        else:
            extents.append(extents[layer.inputs[0]])
    return extents


def _common(maps: Sequence[Extent]) -> Extent:
    start, end = max(m.origin for m in maps), min(m.end for m in maps)
    scale = maps[0].scale
    if any(m.scale != scale or (m.origin - start) % scale for m in maps):
        raise ValueError(f"maps of different grids do not meet: {list(maps)}.")
    return Extent((end - start) // scale, start, scale)


def _changed(layer: Layer, axis: int, x: Extent, padded: bool) -> Extent:
    """Return the map of a convolution, a pooling or an enlargement."""
    factor = layer.stride[axis]
    kernel = layer.kernel[axis] if layer.kernel else 0
    if layer.op in ("max_pool", "mean_pool"):
        before, after = (0, 0) if padded else padding(kernel or factor, factor)
        size = _divided(x.size - before - after, factor)
        return Extent(size, x.origin + before * x.scale, x.scale * factor)
    if layer.op in ("conv", "crop"):
        if padded:
            return Extent(_divided(x.size, factor), x.origin, x.scale * factor)
        before = padding(kernel, factor)[0]
        size = _divided(x.size - kernel, factor) + 1
        return Extent(size, x.origin + before * x.scale, x.scale * factor)
    scale = x.scale // factor
    before, after = (0, 0) if padded else lost_by_enlarging(layer.op, kernel, factor)
    size = x.size * factor - before - after
    return Extent(size, x.origin + before * scale, scale)


def padding(kernel: int, stride: int) -> tuple[int, int]:
    """Return what a padded convolution adds before and after an axis.

    Without padding the first output lies as much further in.
    """
    total = max(kernel - stride, 0)
    before = min((kernel - 1) // 2, total)
    return before, total - before


def lost_by_enlarging(op: str, kernel: int, factor: int) -> tuple[int, int]:
    """Return the pixels before and after that have not all of their terms."""
    if op == "linear":
        return factor // 2, factor // 2
    if op == "nearest":
        return 0, 0
    total = kernel - factor
    return total // 2, total - total // 2


def _divided(size: int, factor: int) -> int:
    if size % factor:
        raise _LeftOver
    return size // factor
