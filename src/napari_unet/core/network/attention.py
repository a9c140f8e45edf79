"""The attention U-Net: what a skip carries is weighed by the level below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture

if TYPE_CHECKING:
    from napari_unet.core.network.choice import Choice


def attention(choice: Choice) -> Architecture:
    """Return the network of Oktay et al. 2018, Fig. 1, as in the authors' program.

    Gates weigh all skips but the finest, and maps are enlarged linearly. The authors
    join the scores of all levels in one more convolution; here the coarser ones are for
    training only. With that convolution it would have the authors' 6,213,613
    parameters in 3-D, of width 16 and depth 4.

    References
    ----------
    Oktay et al.: Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018,
    arXiv:1804.03999.
    """
    down = [(width,) * 2 for width in choice.widths]
    table = choice.levels(down, up_conv=[0] * len(down))
    return Architecture(
        channels=choice.channels,
        classes=choice.classes,
        levels=table,
        enlarge="linear",
        norm=choice.norm,
        skip="gate",
        concat="skip_first",
        supervised=max(choice.depth - 1, 0),
    )
