"""V-Net: 5 × 5 × 5 convolutions with a sum around each level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture

if TYPE_CHECKING:
    from napari_unet.core.network.choice import Choice

# of convolutions per level, the last of them at all deeper ones
_CONVOLUTIONS = (1, 2, 3)


def vnet(choice: Choice) -> Architecture:
    """Return the network of Milletari et al. 2016, Fig. 2.

    65,175,314 parameters in 3-D for one channel and two classes, of width 16 and depth
    4. Without padding its smallest input has 532 pixels along each axis then, at depth
    2 it is 92. The paper has no norm; where there is one, it replaces the biases.

    References
    ----------
    Milletari, Navab, Ahmadi: V-Net: Fully Convolutional Neural Networks for Volumetric
    Medical Image Segmentation, 3DV 2016, arXiv:1606.04797.
    """
    widths, last = choice.widths, len(_CONVOLUTIONS) - 1
    numbers = [_CONVOLUTIONS[min(d, last)] for d in range(choice.depth + 1)]
    table = choice.levels(
        [(w,) * n for w, n in zip(widths, numbers, strict=True)],
        [(2 * w,) * n for w, n in zip(widths, numbers, strict=True)],
        widths,
        kernel=5,
    )
    return Architecture(
        channels=choice.channels,
        classes=choice.classes,
        levels=table,
        block="vnet",
        reduce="strided",
        activation="prelu_per_channel",
        up_activation="prelu_per_channel",
        norm=choice.norm,
        up_norm=True,
        conv_bias=choice.norm == "none",
    )
