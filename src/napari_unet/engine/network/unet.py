"""The U-Net of Ronneberger, Fischer and Brox (2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import paper
from napari_unet.engine.network.layered import LayeredNetwork

if TYPE_CHECKING:
    from napari_unet.core.network.geometry import Layered


class UNet(LayeredNetwork):
    """Unpadded U-Net, by default the paper's.

    That has 31,030,658 parameters and makes 388 × 388 pixels of 572 × 572.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image
    Segmentation, MICCAI 2015, arXiv:1505.04597, Fig. 1.
    Çiçek et al.: 3D U-Net, MICCAI 2016, arXiv:1606.06650, Fig. 2.
    """

    def __init__(self, architecture: Layered | None = None) -> None:
        super().__init__(architecture or paper())
