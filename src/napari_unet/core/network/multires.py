"""MultiResUNet: chains of convolutions that see 3, 5 and 7 pixels at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture, levels

if TYPE_CHECKING:
    from napari_unet.core.network.layers import Norm

# of a level's width, for each convolution of the chain
_SHARES = (0.167, 0.333, 0.5)
_ALPHA = 1.67


def multires(
    *,
    ndim: int = 2,
    channels: int = 3,
    classes: int = 2,
    width: int = 32,
    depth: int = 4,
    flat: tuple[int, ...] = (),
    norm: Norm = "batch",
    dropout: float = 0.0,
) -> Architecture:
    """Return the network of Ibtehaz and Rahman 2020, Fig. 4 and table 1.

    As in the authors' Keras program, which has the paper's 7,262,750 parameters: a norm
    follows each convolution, and another each sum. That program counts the running
    statistics, scales only the norms behind joins and sums, and norms its one output.
    `flat` is as in `u_shape`, `dropout` the share dropped at the two deepest levels.

    References
    ----------
    Ibtehaz, Rahman: MultiResUNet: Rethinking the U-Net architecture for multimodal
    biomedical image segmentation, Neural Networks 2020, arXiv:1902.04049.
    """
    widths = [width * 2**d for d in range(depth + 1)]
    chains = [
        tuple(max(int(_ALPHA * w * share), 1) for share in _SHARES) for w in widths
    ]
    table = levels(chains, up_conv=widths, ndim=ndim, flat=flat, dropout=(2, dropout))
    return Architecture(
        channels=channels,
        classes=classes,
        levels=table,
        block="multires",
        norm=norm,
        conv_bias=norm == "none",
        skip="respath",
    )
