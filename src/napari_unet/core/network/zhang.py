"""The residual U-Net of Zhang et al.: norm and activation before each convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture

if TYPE_CHECKING:
    from napari_unet.core.network.choice import Choice


def zhang(choice: Choice) -> Architecture:
    """Return the network of Zhang et al. 2018, Fig. 2 and table I.

    Strides reduce, nearest neighbours enlarge, and each level has a shortcut. The
    convolutions of the table, of width 64 and depth 3, have 7,782,913 parameters for
    three channels and one output, the shortcuts' 431,680.

    References
    ----------
    Zhang, Liu, Wang: Road Extraction by Deep Residual U-Net, IEEE Geoscience and Remote
    Sensing Letters 2018, arXiv:1711.10684.
    """
    down = [(width,) * 2 for width in choice.widths]
    table = choice.levels(down, up_conv=[0] * len(down))
    return Architecture(
        channels=choice.channels,
        classes=choice.classes,
        levels=table,
        block="zhang",
        reduce="first_conv",
        enlarge="nearest",
        norm=choice.norm,
    )
