"""The residual U-Net of Zhang et al.: norm and activation before each convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture, levels

if TYPE_CHECKING:
    from napari_unet.core.network.layers import Norm


def zhang(
    *,
    ndim: int = 2,
    channels: int = 3,
    classes: int = 2,
    width: int = 64,
    depth: int = 3,
    flat: tuple[int, ...] = (),
    norm: Norm = "batch",
    dropout: float = 0.0,
) -> Architecture:
    """Return the network of Zhang et al. 2018, Fig. 2 and table I.

    Strides reduce, nearest neighbours enlarge, and each level has a shortcut. The
    convolutions of the table have 7,782,913 parameters for three channels and one
    output, the shortcuts' 431,680. `flat` is as in `u_shape`, `dropout` the share
    dropped at the two deepest levels.

    References
    ----------
    Zhang, Liu, Wang: Road Extraction by Deep Residual U-Net, IEEE Geoscience and Remote
    Sensing Letters 2018, arXiv:1711.10684.
    """
    down = [(width * 2**d,) * 2 for d in range(depth + 1)]
    table = levels(
        down, up_conv=[0] * len(down), ndim=ndim, flat=flat, dropout=(2, dropout)
    )
    return Architecture(
        channels=channels,
        classes=classes,
        levels=table,
        block="zhang",
        reduce="first_conv",
        enlarge="nearest",
        norm=norm,
    )
