"""Models of ours as networks in plain torch that keep the size of an image.

Other programs cut an image into tiles of their own. Exact is what they do with them if
the output of a network is as large as its input, all sizes are multiples of one step,
and the border to leave out is a multiple of it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.core.images.normalisation import in_words
from napari_unet.core.network.blended import geometry_of, smallest_window
from napari_unet.core.network.layers import JOINS
from napari_unet.core.network.opaque import Opaque
from napari_unet.core.network.trace import lost_by_enlarging, padding
from napari_unet.core.text import shown, times
from napari_unet.engine.model_formats import torch_file
from napari_unet.engine.model_formats.plain_network import Network
from napari_unet.engine.network.layered import SLOPES
from napari_unet.engine.network.network import damaged, to_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_unet.core.model import Model, ModelCard
    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.network.layers import Layer

# What weights of the plain network are called before the names that they have here.
_MEMBER = "members."


@dataclass(frozen=True, slots=True)
class SameSize:
    """The sizes of a network that keeps them, in pixels along ([z,] y, x)."""

    step: tuple[int, ...]  # inputs are multiples of it
    # to a size that the network itself takes: before and after each axis
    fill: tuple[tuple[int, int], ...]
    lost: tuple[int, ...]  # by the network itself, on each side
    border: tuple[int, ...]  # that is not right, on each side
    smallest: tuple[int, ...]

    @classmethod
    def of(cls, network: Layered) -> SameSize:
        """Return those of a network without padding; of one with it, of its window.

        So much is filled in before the image that the network's grid lies on it as in
        tiles of ours, which begin a border of `halo` before a multiple of the step.

        The outermost pixels see what was filled in. All that are a step further in see
        so much less of it, thus nothing: they are h + s - fill from the image's edge.
        """
        if network.padded:
            none = (0,) * network.ndim
            geometry = geometry_of(network)
            return cls(
                none, ((0, 0),) * network.ndim, none, none, smallest_window(geometry)
            )
        rows = zip(network.step, network.halo, network.min_input, strict=True)
        fill, border, smallest = [], [], []
        for s, h, least in rows:
            before, after = h % s, (least - h) % s
            most = max(h + (s - f if f else 0) for f in (before, after))
            wide = -(-most // s) * s
            fill.append((before, after))
            border.append(wide)
            smallest.append(
                max(-(-(least - before - after) // s), 2 * wide // s + 1) * s
            )
        return cls(
            network.step, tuple(fill), network.halo, tuple(border), tuple(smallest)
        )

    @property
    def context(self) -> tuple[int, ...]:
        """What other programs leave out, on each side.

        Of a window of fixed size a quarter: the pixels there have more weight in the
        next window, where windows are blended.
        """
        rows = zip(self.smallest, self.step, self.border, strict=True)
        return tuple(border if step else n // 4 for n, step, border in rows)

    def covering(self, seen: int) -> tuple[int, ...]:
        """Return the smallest input of which so many pixels an axis are right."""
        sizes = zip(self.smallest, self.border, self.step, strict=True)
        return tuple(
            max(n, -(-(seen + 2 * b) // s) * s) if s else n for n, b, s in sizes
        )


def check_exportable(card: ModelCard) -> None:
    """Refuse, with a ValueError, a model that has no plain form of this kind."""
    network = card.architecture
    if isinstance(network, Opaque):
        raise ValueError(
            f"{card.name}: a {card.network_title}; it is of another program, and is "
            "not written in a third one's form."
        )
    if any(layer.op in ("positions", "attention") for layer in network.drawing.layers):
        raise ValueError(
            f"{card.name}: has layers of transformers, which are not written for other "
            "programs."
        )
    if not network.padded and (network.sees_window or network.window is not None):
        raise ValueError(
            f"{card.name}: sees windows of one size and gives less than these, which "
            "is not written for other programs; a network trained with --padded is."
        )
    if card.outputs is not None and not card.outputs.mean:
        raise ValueError(
            f"{card.name}: makes images on the scale of each image, for which other "
            "programs have no words, so it is not written for them."
        )


def plain_arguments(card: ModelCard) -> dict[str, Any]:
    """Return what makes a plain `Network` of the one that a card describes.

    Plain numbers and texts, as a yaml holds them.
    """
    network, outputs = card.architecture, card.outputs
    sizes = SameSize.of(network)
    found: dict[str, Any] = {
        "ndim": network.ndim,
        "layers": _layers(network),
        "fill": [list(margins) for margins in sizes.fill],
        "halo": list(sizes.lost),
        "members": card.members,
    }
    if network.mean_of == "scores":
        found["mean_of"] = network.mean_of
    if outputs is not None:
        found |= {"mean": list(outputs.mean), "sd": list(outputs.sd)}
    return found


def export_form(model: Model) -> tuple[Network, Tensor]:
    """Return a model as a plain network, and an empty image that it takes.

    A ValueError says why there is no such form.
    """
    card = model.card
    check_exportable(card)
    size = SameSize.of(card.architecture).smallest
    return plain_network(model), torch.zeros(1, card.architecture.channels, *size)


def what_it_takes(card: ModelCard) -> str:
    """Say what an image has to be for the plain form of a model, and what it gives."""
    sizes = SameSize.of(card.architecture)
    axes = ", ".join("zyx"[3 - len(sizes.step) :])
    made = "probabilities" if card.outputs is None else "an image"
    taken = f"multiples of {times(sizes.step)} pixels, at least {times(sizes.smallest)}"
    right = f"right but for {times(sizes.border)} pixels on each side"
    if card.architecture.padded:
        taken = f"{times(sizes.smallest)} pixels alone"
        right = "which napari-unet blends with those of windows that overlap by half"
    return (
        f"It takes float32 (batch, channel, {axes}) of {taken}, in grey values by the "
        f"rule: {in_words(card.normalisation)}. It gives {made} of the same size, "
        f"{right}."
    )


def plain_network(model: Model) -> Network:
    """Return a model as a plain network; a ValueError says that it is damaged."""
    made = Network(**plain_arguments(model.card))
    try:
        made.load_state_dict(plain_weights(model))
    except RuntimeError as error:
        raise damaged(model) from error
    return made.eval()


def plain_weights(model: Model) -> dict[str, Tensor]:
    """Return the weights of a model by the names that a plain network has for them."""
    alone = model.card.members == 1
    return {
        f"{_MEMBER}0.{name}" if alone else _MEMBER + name.replace("/", ".", 1): weight
        for name, weight in to_tensors(model.weights).items()
    }


def own_weights(state: Mapping[str, Any], card: ModelCard) -> dict[str, Any]:
    """Return the weights of a model, by those of its plain network.

    A ValueError says that they are not those of the network in the card.
    """
    table = card.architecture
    found: dict[str, Any] = {}
    layers = [layer.name for layer in table.drawing.layers]
    left = dict(state)
    for number in range(card.members):
        start = f"{_MEMBER}{number}."
        own = {name: left.pop(name) for name in state if name.startswith(start)}
        names = {layer: start + layer for layer in layers}
        weights = torch_file.weights_of(table, names, own)
        before = f"{number}/" if card.members > 1 else ""
        found |= {before + name: weight for name, weight in weights.items()}
    if left:
        raise ValueError(f"it has {shown(min(left))}, which the network has not.")
    return found


def _layers(network: Layered) -> list[dict[str, Any]]:
    """Return the layers without the image; the output has both borders alike."""
    trace = network.trace
    made = [_layer(network, number) for number in range(1, len(trace.layers))]
    if any(map(any, trace.last_margins)):
        made[trace.output - 1]["rest"] = [list(m) for m in trace.last_margins]
    # what only training needs has weights, but is not computed
    more = [
        {**layer, "idle": True} for layer in made[trace.output :] if "name" in layer
    ]
    return [*made[: trace.output], *more]


def _layer(network: Layered, number: int) -> dict[str, Any]:
    trace = network.trace
    layer = trace.layers[number]
    made: dict[str, Any] = {"op": layer.op, "inputs": list(layer.inputs)}
    if layer.op in ("conv", "up_conv", "norm", "repeat"):
        made["width"] = layer.width
    if layer.stride:
        made["stride"] = list(layer.stride)
    match layer.op:
        case "conv" | "up_conv":
            made |= _convolution(network, layer)
        case "norm":
            made |= {"kind": layer.kind, **({"name": layer.name} if layer.name else {})}
        case "dropout" | "crop":
            made["op"] = "as_it_is"
        case "linear" if network.padded:
            made["kind"] = layer.kind
        case "linear":
            ends = [lost_by_enlarging("linear", 0, f) for f in layer.stride]
            made["rest"] = [list(margins) for margins in ends]
        case "activation":
            made |= _activation(layer)
    cuts = [_margins(network, number, source) for source in layer.inputs]
    if any(any(map(any, each)) for each in cuts):
        made["cuts"] = cuts
    return made


def _convolution(network: Layered, layer: Layer) -> dict[str, Any]:
    made: dict[str, Any] = {
        "channels": network.trace.layers[layer.inputs[0]].width,
        "name": layer.name,
        "kernel": list(layer.kernel),
        "bias": layer.bias,
    }
    if layer.op == "up_conv":
        lost = [k - s for k, s in zip(layer.kernel, layer.stride, strict=True)]
        made["lost"] = lost
        if network.padded:
            made["lost"] = [(n + 1) // 2 for n in lost]
            made["more"] = [n % 2 for n in lost]
    return made


def _activation(layer: Layer) -> dict[str, Any]:
    if layer.kind in SLOPES:
        return {"op": "leaky_relu", "slope": SLOPES[layer.kind]}
    if layer.kind.startswith("prelu"):
        each = layer.width if layer.kind == "prelu_per_channel" else 1
        return {"op": "prelu", "name": layer.name, "width": each}
    return {"op": layer.kind}


def _margins(network: Layered, number: int, source: int) -> list[list[int]]:
    """Return what a layer leaves out of a map that it reads; negative if it adds."""
    trace = network.trace
    layer = trace.layers[number]
    if layer.op in JOINS:
        return [list(margins) for margins in trace.margins(number, source)]
    if network.padded:
        sizes = zip(layer.kernel, layer.stride, strict=True)
        pads = [padding(k, s) for k, s in sizes] if layer.op == "conv" else []
        return [[-before, -after] for before, after in pads]
    if layer.op == "crop":
        return [list(padding(k, 1)) for k in layer.kernel]
    if layer.op == "mean_pool" and layer.kernel:
        sizes = zip(layer.kernel, layer.stride, strict=True)
        return [list(padding(k, s)) for k, s in sizes]
    return []
