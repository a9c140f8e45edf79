"""V-Net: 5 × 5 × 5 convolutions with a sum around each level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture, Level

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
    levels = []
    for d in range(depth + 1):
        w, bottom = width * 2**d, d == depth
        number = _CONVOLUTIONS[min(d, len(_CONVOLUTIONS) - 1)]
        thin = [d < f for f in flat or (0,) * ndim]
        levels.append(
            Level(
                down=(w,) * number,
                up=() if bottom else (2 * w,) * number,
                up_conv=0 if bottom else w,
                kernel=tuple(1 if t else 5 for t in thin),
                pool=tuple(1 if bottom or t else 2 for t in thin),
                dropout=dropout if d > depth - 2 else 0.0,
            )
        )
    return Architecture(
        channels=channels,
        classes=classes,
        levels=tuple(levels),
        block="vnet",
        reduce="strided",
        activation="prelu_per_channel",
        up_activation="prelu_per_channel",
        norm=norm,
        up_norm=True,
        conv_bias=norm == "none",
    )
