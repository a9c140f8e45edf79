"""nnU-Net's networks: strided convolutions in place of poolings."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from napari_unet.core.network.architecture import Architecture, levels

if TYPE_CHECKING:
    from napari_unet.core.network.layers import Norm

# widest level by the number of axes
_WIDEST = {2: 512, 3: 320}
# residual units per level, the last of them at all deeper ones
_UNITS = (1, 3, 4, 6)


def nnunet(
    *,
    ndim: int = 2,
    channels: int = 1,
    classes: int = 2,
    width: int = 32,
    depth: int = 7,
    flat: tuple[int, ...] = (),
    norm: Norm = "instance",
    dropout: float = 0.0,
) -> Architecture:
    """Return nnU-Net's plain network (Isensee et al. 2021, Supplementary Note 2).

    Widths double up to 512 in 2-D, 320 in 3-D: 46,324,558 parameters at depth 7 in 2-D,
    31,195,594 at depth 5 in 3-D, for one channel and two classes, if all levels had
    scores; nnU-Net gives the two coarsest none to learn from. Statistics of instance
    norm are of the window; with batch norm the result is the same in any tile. `flat`
    is as in `u_shape`, `dropout` the share dropped at the two deepest levels.

    References
    ----------
    Isensee et al.: nnU-Net: a self-configuring method for deep learning-based
    biomedical image segmentation, Nature Methods 2021.
    """
    widths = [min(width * 2**d, _WIDEST[ndim]) for d in range(depth + 1)]
    table = levels([(w, w) for w in widths], ndim=ndim, flat=flat, dropout=(2, dropout))
    return Architecture(
        channels=channels,
        classes=classes,
        levels=table,
        reduce="first_conv",
        activation="leaky_relu_01",
        norm=norm,
        supervised=max(depth - 2, 0),
    )


@wraps(nnunet, assigned=())  # which says what it takes
def resenc(**sizes: Any) -> Architecture:
    """Return nnU-Net's network with a residual encoder (Isensee et al. 2024).

    1, 3, 4, 6, 6, ... residual units on the way down, one convolution per level on the
    way up: 140,017,038 parameters at depth 7 in 2-D, 102,349,770 at depth 5 in 3-D, if
    all levels had scores. `sizes` are what `nnunet` takes.

    References
    ----------
    Isensee et al.: nnU-Net Revisited: A Call for Rigorous Validation in 3D Medical
    Image Segmentation, MICCAI 2024, arXiv:2404.09556.
    """
    plain = nnunet(**sizes)
    table = [
        level.replace(
            down=level.down[:1] * _UNITS[min(d, len(_UNITS) - 1)], up=level.up[:1]
        )
        for d, level in enumerate(plain.levels)
    ]
    return plain.replace(levels=tuple(table), block="resenc")
