"""VGG's stages as a contracting path, which may begin with what ImageNet taught it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_unet.core.network.architecture import Architecture, levels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.network.layers import Norm

Encoder = Literal["vgg11", "vgg16"]
# Widths of the convolutions before each pooling, in units of the first (Simonyan and
# Zisserman 2014, Table 1, columns A and D), where the unit is 64.
STAGES: Mapping[Encoder, tuple[tuple[int, ...], ...]] = {
    "vgg11": ((1,), (2,), (4, 4), (8, 8), (8, 8)),
    "vgg16": ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8)),
}
UNIT = 64
# Numbers of channels that ImageNet's weights can be brought to: grey and RGB.
_CHANNELS = (1, 3)
# Widths of up-convolution and convolution on TernausNet's way up, in units of 32.
_UP: Mapping[Encoder, tuple[tuple[int, int], ...]] = {
    "vgg11": ((1, 1), (2, 4), (4, 8), (8, 16), (8, 16)),
    "vgg16": ((1, 1), (2, 4), (8, 8), (8, 16), (8, 16)),
}


def ternaus(
    encoder: Encoder = "vgg11",
    *,
    channels: int = 3,
    classes: int = 2,
    width: int = UNIT,
    depth: int = 5,
    norm: Norm = "none",
) -> Architecture:
    """Return TernausNet (Iglovikov and Shvets 2018, Fig. 3): a U-Net that VGG leads.

    With VGG11 it has 22,927,426 parameters for three channels and two classes, with
    VGG16 (the authors' `UNet16` with transposed convolutions) 32,202,370. A smaller
    `depth` leaves out the deepest stages: of the published five poolings each output
    pixel sees 153 and 184 pixels to each side. A ValueError says if it is deeper.
    """
    if depth > len(STAGES[encoder]):
        raise ValueError(
            f"TernausNet has {len(STAGES[encoder])} poolings at most, found a depth of "
            f"{depth}."
        )
    up_unit = max(width // 2, 1)
    # the bottom has the width of the stage that would follow, or else of the last
    bottom = STAGES[encoder][min(depth, len(STAGES[encoder]) - 1)][:1]
    table = levels(
        [tuple(width * w for w in s) for s in (*STAGES[encoder][:depth], bottom)],
        [(up_unit * w,) for _, w in _UP[encoder]],
        [up_unit * w for w, _ in _UP[encoder]],
        ndim=2,
    )
    return Architecture(
        channels=channels,
        classes=classes,
        levels=table,
        enlarge="transposed3" if encoder == "vgg11" else "transposed4",
        up_activation="relu",
        norm=norm,
    )


def refusal_of_channels(channels: int) -> str:
    """Say that there are no ImageNet weights for such images; empty if there are."""
    if channels in _CHANNELS:
        return ""
    return (
        "ImageNet's weights are for grey or RGB images, of "
        f"{' or '.join(map(str, _CHANNELS))} channels, these have {channels}."
    )


@dataclass(frozen=True, slots=True)
class Convolution:
    """One of VGG's 3 × 3 convolutions."""

    # in our networks, and in torchvision's
    name: str
    feature: str
    # channels out and in
    width: int
    channels: int


def convolutions(encoder: Encoder, depth: int = 5) -> tuple[Convolution, ...]:
    """Return the convolutions before each of the first poolings of VGG."""
    found, number, channels = [], 0, 3
    for stage, widths in enumerate(STAGES[encoder][:depth]):
        for k, width in enumerate(widths):
            name, feature = f"down.{stage}.{2 * k}", f"features.{number}"
            found.append(Convolution(name, feature, UNIT * width, channels))
            channels = UNIT * width
            number += 2  # a ReLU follows each
        number += 1  # a pooling follows all
    return tuple(found)


def encoder_of(network: Layered) -> tuple[Encoder, tuple[Convolution, ...]] | None:
    """Find the VGG that a network's contracting path is, as far as it is pooled.

    None if it is none, or if its maps are normalised, which VGG's are not.
    """
    layers = network.drawing.layers
    depth = sum(layer.op == "max_pool" for layer in layers)
    paths = tuple(f"down.{stage}." for stage in range(depth))
    path = [
        (layer.name, layer.width, layer.kernel)
        for layer in layers
        if layer.name.startswith(paths) and layer.op in ("conv", "norm")
    ]
    for encoder in STAGES:
        convs = convolutions(encoder, depth)
        if path and path == [(c.name, c.width, (3, 3)) for c in convs]:
            return encoder, convs
    return None
