"""U-Nets as other papers and programs have them: the paper's, a little changed."""

from __future__ import annotations

from napari_unet.core.network.architecture import (
    Architecture,
    levels,
    paper,
    u_shape,
)


def release_2015(channels: int = 1, classes: int = 2) -> Architecture:
    """Return the network in the authors' release of 2015, `phseg_v5`.

    Unlike the paper's it activates behind up-convolutions, the last of which is twice
    as wide: 31,100,354 parameters.
    """
    table = paper(channels, classes)
    top = table.levels[0].replace(up_conv=128)
    return table.replace(levels=(top, *table.levels[1:]), up_activation="relu")


def cell_net_2019(channels: int = 1, classes: int = 2) -> Architecture:
    """Return the `2d_cell_net_v0` of Falk et al. 2019.

    31,321,794 parameters. Its file could not be had: this is what ports of it say.
    """
    table = release_2015(channels, classes)
    top = table.levels[0].replace(up=(128, 128))
    return table.replace(
        levels=(top, *table.levels[1:]),
        activation="leaky_relu",
        up_activation="leaky_relu",
    )


def plugin_default(channels: int = 1, classes: int = 2) -> Architecture:
    """Return what the Fiji plugin of Falk et al. 2019 makes as a new model.

    31,030,658 parameters.
    """
    table = u_shape(ndim=2, channels=channels, classes=classes, width=64, depth=4)
    return table.replace(activation="leaky_relu", up_activation="leaky_relu")


def unet3d(channels: int = 3, classes: int = 3) -> Architecture:
    """Return the 3-D U-Net of Çiçek et al. 2016, Fig. 2.

    Widths double in the second convolution of each level, up-convolutions keep theirs
    and have no bias: 19,069,955 parameters without those of the batch normalisation,
    132 × 132 × 116 -> 44 × 44 × 28 voxels.
    """
    widths = (32, 64, 128, 256)
    table = levels(
        [(w, 2 * w) for w in widths],
        [(2 * w, 2 * w) for w in widths],
        [4 * w for w in widths],
        ndim=3,
    )
    return Architecture(
        channels=channels, classes=classes, levels=table, norm="batch", up_bias=False
    )


def tf_unet(
    channels: int = 1, classes: int = 2, layers: int = 3, features_root: int = 16
) -> Architecture:
    """Return the network of jakeret/tf_unet with its defaults.

    It drops values behind every convolution and activates its scores; here neither is
    done.
    """
    table = u_shape(
        ndim=2,
        channels=channels,
        classes=classes,
        width=features_root,
        depth=layers - 1,
    )
    return table.replace(up_activation="relu", concat="skip_first")


def zhixuhao(channels: int = 1, classes: int = 2) -> Architecture:
    """Return the network of zhixuhao/unet, which repeats pixels to enlarge.

    31,031,688 parameters, with the program's single output 31,031,685.
    """
    return paper(channels, classes).replace(
        enlarge="nearest_conv2", up_activation="relu", concat="skip_first", last=(2,)
    )


def milesial(
    channels: int = 3, classes: int = 2, *, bilinear: bool = False
) -> Architecture:
    """Return the network of milesial/Pytorch-UNet.

    31,037,698 parameters, with linear enlargement 17,263,042. That one aligns the
    corners there, which depends on the size of the image; here it does not.
    """
    widths = (64, 128, 256, 512, 1024)
    down = [(w, w) for w in widths]
    up = down
    if bilinear:
        down = [*down[:4], (512, 512)]
        up = [(w, max(w // 2, 64)) for w in widths]
    table = levels(down, up, [0] * 5 if bilinear else widths, ndim=2)
    return Architecture(
        channels=channels,
        classes=classes,
        levels=table,
        enlarge="linear" if bilinear else "transposed",
        norm="batch",
        conv_bias=False,
        concat="skip_first",
    )
