"""A network that none of the papers has, for what is special about its sizes."""

from __future__ import annotations

from napari_unet.core.network.architecture import Architecture, Level

# 3 × 3 with stride 2, so that outputs are odd
ODD = Architecture(
    levels=(
        Level(down=(2,), up=(2,), up_conv=2, kernel=(3, 3), pool=(2, 2)),
        Level(down=(2,), kernel=(3, 3), pool=(1, 1)),
    ),
    reduce="first_conv",
    enlarge="transposed3",
    norm="instance",
)
