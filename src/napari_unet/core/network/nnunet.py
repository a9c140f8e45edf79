"""nnU-Net's networks: strided convolutions in place of poolings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture

if TYPE_CHECKING:
    from napari_unet.core.network.choice import Choice

# widest level by the number of axes
_WIDEST = {2: 512, 3: 320}
# residual units per level, the last of them at all deeper ones
_UNITS = (1, 3, 4, 6)


def nnunet(choice: Choice) -> Architecture:
    """Return nnU-Net's plain network (Isensee et al. 2021, Supplementary Note 2).

    Widths double up to 512 in 2-D, 320 in 3-D: of width 32 and with instance norm it
    has 46,324,558 parameters at depth 7 in 2-D, 31,195,594 at depth 5 in 3-D, for one
    channel and two classes, if all levels had scores; nnU-Net gives the two coarsest
    none to learn from. Statistics of instance norm are of the window; with batch norm
    the result is the same in any tile.

    References
    ----------
    Isensee et al.: nnU-Net: a self-configuring method for deep learning-based
    biomedical image segmentation, Nature Methods 2021.
    """
    widths = [min(width, _WIDEST[choice.ndim]) for width in choice.widths]
    table = choice.levels([(w, w) for w in widths])
    return Architecture(
        channels=choice.channels,
        classes=choice.classes,
        levels=table,
        reduce="first_conv",
        activation="leaky_relu_01",
        norm=choice.norm,
        supervised=max(choice.depth - 2, 0),
    )


def resenc(choice: Choice) -> Architecture:
    """Return nnU-Net's network with a residual encoder (Isensee et al. 2024).

    1, 3, 4, 6, 6, ... residual units on the way down, one convolution per level on the
    way up: 140,017,038 parameters at depth 7 in 2-D, 102,349,770 at depth 5 in 3-D, if
    all levels had scores. The rest is as in `nnunet`.

    References
    ----------
    Isensee et al.: nnU-Net Revisited: A Call for Rigorous Validation in 3D Medical
    Image Segmentation, MICCAI 2024, arXiv:2404.09556.
    """
    plain = nnunet(choice)
    table = [
        level.replace(
            down=level.down[:1] * _UNITS[min(d, len(_UNITS) - 1)], up=level.up[:1]
        )
        for d, level in enumerate(plain.levels)
    ]
    return plain.replace(levels=tuple(table), block="resenc")
