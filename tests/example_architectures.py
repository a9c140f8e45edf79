"""A network of the literature that no preset offers, as a table."""

from __future__ import annotations

from napari_unet.core.network.architecture import Architecture, Level


def unet3d(channels: int = 3, classes: int = 3) -> Architecture:
    """Return the 3-D U-Net of Çiçek et al. 2016, Fig. 2.

    Widths double in the second convolution of each level, up-convolutions keep theirs
    and have no bias: 19,069,955 parameters without those of the batch normalisation,
    132 × 132 × 116 -> 44 × 44 × 28 voxels.
    """
    levels = []
    for depth, w in enumerate((32, 64, 128, 256)):
        bottom = depth == 3
        levels.append(
            Level(
                down=(w, 2 * w),
                up=() if bottom else (2 * w, 2 * w),
                up_conv=0 if bottom else 4 * w,
                kernel=(3, 3, 3),
                pool=(1, 1, 1) if bottom else (2, 2, 2),
            )
        )
    return Architecture(
        channels=channels,
        classes=classes,
        levels=tuple(levels),
        norm="batch",
        up_bias=False,
    )
