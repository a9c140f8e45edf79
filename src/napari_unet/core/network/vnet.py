"""V-Net: 5 × 5 × 5 convolutions with a sum around each level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture, levels

if TYPE_CHECKING:
    from napari_unet.core.network.layers import Norm

# of convolutions per level, the last of them at all deeper ones
_CONVOLUTIONS = (1, 2, 3)


def vnet(
    *,
    ndim: int = 3,
    channels: int = 1,
    classes: int = 2,
    width: int = 16,
    depth: int = 4,
    flat: tuple[int, ...] = (),
    norm: Norm = "none",
    dropout: float = 0.0,
) -> Architecture:
    """Return the network of Milletari et al. 2016, Fig. 2.

    65,175,314 parameters in 3-D for one channel and two classes. Without padding its
    smallest input has 532 pixels along each axis, with `depth` 2 instead of 4 it is 92.
    The paper has no norm; where there is one, it replaces the biases. `flat` is as in
    `u_shape`, `dropout` the share dropped at the two deepest levels.

    References
    ----------
    Milletari, Navab, Ahmadi: V-Net: Fully Convolutional Neural Networks for Volumetric
    Medical Image Segmentation, 3DV 2016, arXiv:1606.04797.
    """
    numbers = [_CONVOLUTIONS[min(d, len(_CONVOLUTIONS) - 1)] for d in range(depth + 1)]
    widths = [width * 2**d for d in range(depth + 1)]
    table = levels(
        [(w,) * n for w, n in zip(widths, numbers, strict=True)],
        [(2 * w,) * n for w, n in zip(widths, numbers, strict=True)],
        widths,
        ndim=ndim,
        kernel=5,
        flat=flat,
        dropout=(2, dropout),
    )
    return Architecture(
        channels=channels,
        classes=classes,
        levels=table,
        block="vnet",
        reduce="strided",
        activation="prelu_per_channel",
        up_activation="prelu_per_channel",
        norm=norm,
        up_norm=True,
        conv_bias=norm == "none",
    )
