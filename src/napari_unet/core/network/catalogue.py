"""The networks that a training can choose from: names, uses, papers, builders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import u_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.network.layers import Norm


@dataclass(frozen=True, slots=True)
class Choice:
    """What a training says of the network that it wants."""

    ndim: int
    channels: int
    classes: int
    # channels at full resolution, number of reductions
    width: int
    depth: int
    norm: Norm = "batch"
    # share dropped at the two deepest levels
    dropout: float = 0.0
    # for each axis, how many of the finest levels leave it alone (thin stacks)
    flat: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the literature."""

    # in forms
    title: str
    # what it is for, in one line
    use: str
    paper: str
    # the independent implementation that it was compared with
    verified: str
    # numbers of spatial axes that it is built for
    ndims: tuple[int, ...]
    build: Callable[[Choice], Layered]


def _unet(choice: Choice) -> Layered:
    return u_shape(
        ndim=choice.ndim,
        channels=choice.channels,
        classes=choice.classes,
        width=choice.width,
        depth=choice.depth,
        dropout=(2, choice.dropout),
        flat=choice.flat,
        norm=choice.norm,
    )


NETWORKS: Mapping[str, Entry] = {
    "unet": Entry(
        title="U-Net",
        use="The usual choice: fewest operations for its size, exact at every border.",
        paper="Ronneberger et al. 2015; Çiçek et al. 2016",
        verified="a drawing of the paper's figure in plain operations",
        ndims=(2, 3),
        build=_unet,
    ),
}
