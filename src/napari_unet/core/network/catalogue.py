"""The networks that a training can choose from: names, uses, papers, builders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, SerializeAsAny

from napari_unet.core.network.architecture import Architecture, u_shape
from napari_unet.core.network.attention import attention
from napari_unet.core.network.fcn import FCN8
from napari_unet.core.network.geometry import Layered
from napari_unet.core.network.multires import multires
from napari_unet.core.network.nnunet import nnunet, resenc
from napari_unet.core.network.opaque import Opaque
from napari_unet.core.network.residual_unet import ResidualUNet, residual_unet
from napari_unet.core.network.unetr import DEPTH, TOKEN, Unetr
from napari_unet.core.network.vgg import STAGES, UNIT, refusal_of_channels, ternaus
from napari_unet.core.network.vnet import vnet
from napari_unet.core.network.zhang import zhang
from napari_unet.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.network.choice import Choice
    from napari_unet.core.network.layers import Norm
    from napari_unet.core.network.vgg import Encoder


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the literature."""

    # in forms
    title: str
    # what it is for, in one line
    use: str
    paper: str
    # the independent implementation that it was compared with
    verified: str
    # numbers of spatial axes that it is built for
    ndims: tuple[Literal[2, 3], ...]
    build: Callable[[Choice], Layered]
    # for each number of axes the settings of `Training` that it needs otherwise than
    # the presets have them
    recipe: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    # the same for the preset "paper": what its own paper has
    published: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    # which VGG leads it, so that it can begin with ImageNet's weights
    encoder: Encoder | None = None
    # what it is, whatever `Training` says
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def refusal(
        self, ndim: int, channels: int | None = None, encoder: str = "none"
    ) -> str:
        """Say why it cannot be had for such images; empty if it can."""
        if ndim not in self.ndims:
            kind = {2: "slices (2-D)", 3: "volumes (3-D)"}
            return f"{self.title} is for {kind[self.ndims[0]]} alone."
        if encoder == "none":
            return ""
        if self.encoder is None:
            return f"There are no ImageNet weights for {self.title}."
        return "" if channels is None else refusal_of_channels(channels)

    def settled(self, encoder: str = "none") -> Mapping[str, Any]:
        """Return the settings of `Training` that it leaves no choice of."""
        if self.encoder is None:
            return {**self.fixed, "encoder": "none"}
        vgg = {"width": UNIT, "norm": "none"} if encoder == "imagenet" else {}
        return {**self.fixed, **vgg}


def _unet(choice: Choice) -> Layered:
    return u_shape(
        ndim=choice.ndim,
        channels=choice.channels,
        classes=choice.classes,
        width=choice.width,
        depth=choice.depth,
        dropout=(2, choice.dropout),
        flat=choice.flat,
        norm=choice.norm,
    )


# With SGD transformers hardly learn; the paper's own schedule was not to be had.
_ADAMW = {
    "optimiser": "adamw",
    "learning_rate": 1e-4,
    "momentum": 0.9,
    "weight_decay": 1e-5,
}


def _unetr(choice: Choice) -> Layered:
    """Make a token as wide as 12 levels: of width 64 it is the paper's network."""
    patch = choice.patch or (96 if choice.ndim == 2 else 48,) * choice.ndim
    return Unetr(
        channels=choice.channels,
        classes=choice.classes,
        window=tuple(-(-n // TOKEN) * TOKEN for n in patch),
        token_width=12 * choice.width,
        hidden_width=48 * choice.width,
    )


def _published(
    width: int,
    depth: int,
    depth_3d: int = 0,
    norm: Norm = "batch",
    windows: Mapping[int, int] | None = None,
) -> Mapping[int, Mapping[str, Any]]:
    """Return the sizes of a paper, for slices and for volumes.

    `windows` are the sides of padded ones, where without padding nothing would fit.
    """
    same = {"width": width, "norm": norm, "dropout": 0.0}
    found: dict[int, dict[str, Any]] = {
        2: {"depth": depth, **same},
        3: {"depth": depth_3d or depth, **same},
    }
    for ndim, side in (windows or {}).items():
        found[ndim] |= {"padded": True, "patch": side}
    return found


def _ternaus(choice: Choice) -> Layered:
    return ternaus(
        channels=choice.channels,
        classes=choice.classes,
        width=UNIT if choice.imagenet else choice.width,
        depth=choice.depth,
        norm="none" if choice.imagenet else choice.norm,
    )


def _fcn8(choice: Choice) -> Layered:
    width = UNIT if choice.imagenet else choice.width
    return FCN8(
        channels=choice.channels,
        classes=choice.classes,
        width=width,
        head=64 * width,
        norm="none" if choice.imagenet else choice.norm,
        dropout=choice.dropout,
    )


NETWORKS: Mapping[str, Entry] = {
    "unet": Entry(
        title="U-Net",
        use="The usual choice: fewest operations for its size, exact at every border.",
        paper="Ronneberger et al. 2015; Çiçek et al. 2016",
        verified="a drawing of the paper's figure in plain operations",
        ndims=(2, 3),
        build=_unet,
    ),
    "resunet": Entry(
        title="Residual U-Net",
        use="A shortcut past each level; a narrower border than the U-Net's.",
        paper="Zhang et al. 2018",
        verified="a drawing of the paper's figure in plain operations",
        ndims=(2, 3),
        build=zhang,
        published=_published(64, 3),
    ),
    "monai_resunet": Entry(
        title="Residual U-Net (MONAI)",
        use="The fastest, as it works at half resolution; outlines are coarser.",
        paper="Kerfoot et al. 2018",
        verified="monai.networks.nets.UNet",
        ndims=(2, 3),
        build=residual_unet,
        published=_published(16, 4, norm="instance"),
    ),
    "vnet": Entry(
        title="V-Net",
        use="For volumes: sees far by 5 × 5 × 5 kernels, and takes many times as long.",
        paper="Milletari et al. 2016",
        verified="monai.networks.nets.VNet; a drawing of the paper in plain operations",
        ndims=(2, 3),
        build=vnet,
        published=_published(16, 4, norm="none", windows={3: 128}),
    ),
    "attention": Entry(
        title="Attention U-Net",
        use="For few small objects in a busy scene: gates weigh what the skips carry.",
        paper="Oktay et al. 2018",
        verified="a drawing of the authors' program in plain operations",
        ndims=(2, 3),
        build=attention,
        published=_published(16, 4),
    ),
    "multires": Entry(
        title="MultiResUNet",
        use="For objects of very different sizes: blocks see 3, 5 and 7 pixels.",
        paper="Ibtehaz and Rahman 2020",
        verified="a drawing of the authors' Keras program in plain operations",
        ndims=(2, 3),
        build=multires,
        published=_published(32, 4),
    ),
    "nnunet": Entry(
        title="nnU-Net",
        use="Strides in place of poolings: nnU-Net's plain network, in exact tiles.",
        paper="Isensee et al. 2021",
        verified="dynamic-network-architectures",
        ndims=(2, 3),
        build=nnunet,
        published=_published(32, 7, 5, norm="instance", windows={2: 512, 3: 128}),
    ),
    "resenc": Entry(
        title="nnU-Net, residual encoder",
        use="Deep and slow: for much data and long trainings.",
        paper="Isensee et al. 2024",
        verified="dynamic-network-architectures",
        ndims=(2, 3),
        build=resenc,
        published=_published(32, 7, 5, norm="instance", windows={2: 512, 3: 128}),
    ),
    "unetr": Entry(
        title="UNETR",
        use="Sees a whole window at once; for many annotated images and much time.",
        paper="Hatamizadeh et al. 2022",
        verified="monai.networks.nets.UNETR",
        ndims=(2, 3),
        build=_unetr,
        # of a window of 32 pixels there are but 8 tokens
        recipe={3: {"patch": 48}},
        published={n: {"width": 64, "patch": 96, **_ADAMW} for n in (2, 3)},
        fixed={"depth": DEPTH, "norm": "instance", "dropout": 0.0, "padded": True},
    ),
    "fcn8": Entry(
        title="FCN-8s",
        use="The network before the U-Net: coarse outlines, and large windows.",
        paper="Long, Shelhamer and Darrell 2015",
        verified="a drawing with the published pads and crops in plain operations",
        ndims=(2,),
        build=_fcn8,
        encoder="vgg16",
        # as many pixels as in four small patches, of which most would be border
        recipe={2: {"batch": 1, "patch": 200}},
        published={2: {"width": UNIT, "norm": "none", "dropout": 0.5}},
        fixed={"depth": len(STAGES["vgg16"])},
    ),
    "ternaus": Entry(
        title="TernausNet",
        use="For RGB images such as histology, with the encoder of ImageNet.",
        paper="Iglovikov and Shvets 2018",
        verified="ternausnet 0.0.1 (UNet11 and UNet16)",
        ndims=(2,),
        build=_ternaus,
        encoder="vgg11",
        published={2: _published(UNIT, 5, norm="none")[2]},
        fixed={"dropout": 0.0},
    ),
}


# Descriptions that are no `Architecture`, by what a card calls their kind.
KINDS: Mapping[str, type[Layered]] = {
    "fcn8": FCN8,
    "opaque": Opaque,
    "residual_unet": ResidualUNet,
    "unetr": Unetr,
}


def known(name: str) -> str:
    """Return the name of a network; a ValueError has those that there are."""
    if name not in NETWORKS:
        raise ValueError(f"should be one of {', '.join(NETWORKS)}")
    return name


def _described(found: Any) -> Any:
    """Make the description that a card holds, by its kind."""
    if not isinstance(found, dict):
        return found
    if "kind" not in found:
        return Architecture.model_validate(found)
    kind = found["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"the kind of network {shown(kind)} is not known")
    return KINDS[kind].model_validate(found)


Described = Annotated[SerializeAsAny[Layered], BeforeValidator(_described)]
"""Any description of a network, as a field of settings."""
