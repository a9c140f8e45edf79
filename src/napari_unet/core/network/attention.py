"""The attention U-Net: what a skip carries is weighed by the level below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture, levels

if TYPE_CHECKING:
    from napari_unet.core.network.layers import Norm


def attention(
    *,
    ndim: int = 3,
    channels: int = 1,
    classes: int = 2,
    width: int = 16,
    depth: int = 4,
    flat: tuple[int, ...] = (),
    norm: Norm = "batch",
    dropout: float = 0.0,
) -> Architecture:
    """Return the network of Oktay et al. 2018, Fig. 1, as in the authors' program.

    Gates weigh all skips but the finest, and maps are enlarged linearly. The authors
    join the scores of all levels in one more convolution; here the coarser ones are for
    training only. With that convolution it would have the authors' 6,213,613
    parameters. `flat` is as in `u_shape`, `dropout` the share dropped at the two
    deepest levels.

    References
    ----------
    Oktay et al.: Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018,
    arXiv:1804.03999.
    """
    down = [(width * 2**d,) * 2 for d in range(depth + 1)]
    table = levels(
        down, up_conv=[0] * len(down), ndim=ndim, flat=flat, dropout=(2, dropout)
    )
    return Architecture(
        channels=channels,
        classes=classes,
        levels=table,
        enlarge="linear",
        norm=norm,
        skip="gate",
        concat="skip_first",
        supervised=max(depth - 1, 0),
    )
