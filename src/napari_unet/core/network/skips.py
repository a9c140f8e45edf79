"""What lies between the two paths of a U-Net, where it is not a plain copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.network.blocks import Stage, plain

if TYPE_CHECKING:
    from napari_unet.core.network.layers import Drawing


def gate(net: Drawing, x: int, signal: int, stage: Stage, pool: tuple[int, ...]) -> int:
    """Weigh each pixel of a map by what the next coarser level says of it.

    `signal` is the map of that level. The grid attention of Oktay et al. 2018, Fig. 2,
    with the layers that the authors' program has and the figure has not: a norm behind
    the product, and one more convolution.
    """
    name, width = stage.name, net.width(x)
    here = net.conv(x, width, pool, f"{name}.theta", stride=pool, bias=False)
    there = net.conv(signal, width, 1, f"{name}.phi")
    both = net.activate(net.add(here, there), "relu", f"{name}.relu")
    share = net.activate(
        net.conv(both, 1, 1, f"{name}.psi"), "sigmoid", f"{name}.sigma"
    )
    x = net.multiply(x, net.resize(share, "linear", pool))
    product = stage.part("product", (width,), activation="none")
    x = plain(net, x, product.pointwise())
    return plain(net, x, stage.part("out", (width,)).pointwise())


def residual_path(net: Drawing, x: int, stage: Stage) -> int:
    """Bring a skip nearer to the maps that it will meet (Ibtehaz and Rahman 2020).

    As many convolutions as the skip crosses levels, each with a sum around it.
    """
    for number, width in enumerate(stage.widths):
        beside = stage.part(f"{number}.shortcut", (width,), activation="none")
        shortcut = plain(net, x, beside.pointwise())
        x = plain(net, x, stage.part(f"{number}.conv", (width,)))
        name = f"{stage.name}.{number}.summed"
        x = net.activate(net.add(shortcut, x), stage.activation, f"{name}.0")
        x = net.norm(x, stage.norm, f"{name}.1")
    return x
