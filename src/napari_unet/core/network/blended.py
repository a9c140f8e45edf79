"""Windows of one fixed size, blended: for networks that depend on what else they see.

A padded network, one with statistics over its window, or with a memory of places, says
something else of a pixel in another window. Here all windows have one size T, stand at
multiples of T / 2 from the image's origin, and each pixel is the mean of all that see
it, two along each axis, with weights that fall off as a Gaussian of standard deviation
T / 8. That is a network again, of step T / 2 and halo T / 2, and its result depends on
no plan of tiles or blocks. It does on T, which belongs to the model.

A network of another program whose border is known (`opaque`), but which takes one size
alone, has its windows side by side without that border, and nothing to be blended.

The standard deviation is that of nnU-Net (Isensee et al. 2021); its windows stand
elsewhere, spread evenly over each image, and none begins outside. Of networks that it
trained scores are averaged, as there, with the middle of the Gaussian on pixel T / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import lcm, prod
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.network.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.network.geometry import Layered

# Side of the window of models that say nothing of theirs, in pixels.
_USUAL = {2: 256, 3: 64}


@dataclass(frozen=True)
class Blended(Geometry):
    """Runs of a network in windows of a fixed size.

    Its `flops` count each run, its `peak_values` one run and what is read and blended.
    """

    channels: int
    classes: int
    network: Layered
    # what is used of the output of a run, even along each axis
    window: tuple[int, ...]

    @property
    def step(self) -> tuple[int, ...]:
        """Distance of the windows."""
        sizes = zip(self.window, self.network.overlap, strict=True)
        return tuple(n // seen for n, seen in sizes)

    @property
    def halo(self) -> tuple[int, ...]:
        """The half of a window that is shared, and what the network itself loses."""
        return tuple(
            shared + h + spare
            for shared, h, spare in zip(
                self._shared, self.network.halo, self._spare, strict=True
            )
        )

    @property
    def min_output(self) -> tuple[int, ...]:
        """One step."""
        return self.step

    @property
    def run_input(self) -> tuple[int, ...]:
        """Input of one run."""
        return self.network.input_size(self._run_output)

    def peak_values(self, output: Sequence[int]) -> int:
        """Estimate how many numbers are alive at once while a tile is computed."""
        read = self.channels * prod(self.input_size(tuple(output)))
        return (
            self.network.peak_values(self._run_output)
            + self.classes * prod(output)
            + read
        )

    def flops(self, output: Sequence[int]) -> float:
        """Count the multiplications of the convolutions for a tile's output."""
        sizes = zip(output, self._shared, self.step, strict=True)
        runs = prod((n + shared) // s for n, shared, s in sizes)
        return runs * self.network.flops(self._run_output)

    def runs(self, output: Sequence[int]) -> Iterator[tuple[Box, Box, Box]]:
        """Yield what each run reads, what it adds to, and what of the window that is.

        Boxes of the input, of the output, and of the window. All runs that see a pixel
        come in the same order, whatever the output is.
        """
        size, shared = self.run_input, self._shared
        sizes = zip(output, shared, self.step, strict=True)
        for place in product(*(range(0, n + more, s) for n, more, s in sizes)):
            read, target, part = [], [], []
            for axis, start in enumerate(place):
                a = start + self._spare[axis]
                read.append(slice(a, a + size[axis]))
                # the first window begins before the output with what it shares
                low = start - shared[axis]
                stop = min(low + self.window[axis], output[axis])
                target.append(slice(max(low, 0), stop))
                part.append(slice(max(low, 0) - low, stop - low))
            yield tuple(read), tuple(target), tuple(part)

    def weights(self) -> list[NDArray[np.float64]]:
        """Return the weight of each pixel of a window, along each axis.

        Those of the windows that see a pixel add up to one.
        """
        found = []
        shift = 0.5 if self.network.mean_of == "scores" else 0.0
        for n, overlap in zip(self.window, self.network.overlap, strict=True):
            if overlap == 1:
                found.append(np.ones(n))
                continue
            middle = (n - 1) / 2 + shift
            bell = np.exp(-0.5 * ((np.arange(n) - middle) / (n / 8)) ** 2)
            found.append(bell / (bell + np.roll(bell, n // 2)))
        return found

    @property
    def _run_output(self) -> tuple[int, ...]:
        return self.network.output_covering(self.window)

    @property
    def _shared(self) -> tuple[int, ...]:
        """Pixels of a window that the next one sees, too."""
        return tuple(n - s for n, s in zip(self.window, self.step, strict=True))

    @property
    def _spare(self) -> tuple[int, ...]:
        """Pixels that a run gives beyond the window."""
        return tuple(n - w for n, w in zip(self._run_output, self.window, strict=True))


def geometry_of(network: Layered) -> Geometry:
    """Return the sizes by which a network predicts: its own, or of fixed windows."""
    window = network.window
    if window is None:
        if not network.sees_window:
            return network
        window = usual_window(network, (_USUAL[network.ndim],) * network.ndim)
    return Blended(network.channels, network.classes, network, window)


def note_of_window(network: Layered) -> str:
    """Say that a window that matters is not known; empty if it is.

    So it is of models that were made before windows were recorded.
    """
    if network.window is not None or not network.sees_window:
        return ""
    return (
        "The model file records no window, so that a usual one is taken; older "
        "programs set such windows side by side, and their results differ a little."
    )


def smallest_window(geometry: Geometry) -> tuple[int, ...]:
    """Return the smallest input that the network itself is run with."""
    if isinstance(geometry, Blended):
        return geometry.run_input
    return geometry.min_input


def in_windows(network: Layered, size: tuple[int, ...]) -> Layered:
    """Return a network padded instead, for windows of at least some size.

    So a network can be had whose border would be larger than the window.
    """
    whole = (lcm(s, 2) for s in network.step)
    window = tuple(-(-n // w) * w for n, w in zip(size, whole, strict=True))
    return network.replace(padded=True, window=window)


def reach_of(network: Layered) -> tuple[int, ...]:
    """Return how far from a pixel a network sees, in pixels along each axis.

    What is beyond has little weight in a padded one, and with statistics over a window
    little influence.
    """
    if network.window is None or not network.padded:
        return network.halo
    return tuple(n // 2 for n in network.window)


def usual_window(network: Layered, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return an even window that a run of the network fills, of about some size."""
    return tuple(n // 2 * 2 for n in network.output_covering(size))
