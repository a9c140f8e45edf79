"""MultiResUNet: chains of convolutions that see 3, 5 and 7 pixels at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture

if TYPE_CHECKING:
    from napari_unet.core.network.choice import Choice

# of a level's width, for each convolution of the chain
_SHARES = (0.167, 0.333, 0.5)
_ALPHA = 1.67


def multires(choice: Choice) -> Architecture:
    """Return the network of Ibtehaz and Rahman 2020, Fig. 4 and table 1.

    As in the authors' Keras program, which has the paper's 7,262,750 parameters for
    three channels, of width 32 and depth 4: a norm follows each convolution, and
    another each sum. That program counts the running statistics, scales only the norms
    behind joins and sums, and norms its one output.

    References
    ----------
    Ibtehaz, Rahman: MultiResUNet: Rethinking the U-Net architecture for multimodal
    biomedical image segmentation, Neural Networks 2020, arXiv:1902.04049.
    """
    chains = [
        tuple(max(int(_ALPHA * w * share), 1) for share in _SHARES)
        for w in choice.widths
    ]
    table = choice.levels(chains, up_conv=choice.widths)
    return Architecture(
        channels=choice.channels,
        classes=choice.classes,
        levels=table,
        block="multires",
        norm=choice.norm,
        conv_bias=choice.norm == "none",
        skip="respath",
    )
