"""U-Nets of ours in the words of Caffe, with the names that the Fiji plugin gives.

Maps of the contracting path are d0a, d0b, ... by their level, those of the expanding
one u0a, u0b, ...; layers are named by the maps that they read and give.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import Architecture
from napari_unet.core.text import shown
from napari_unet.engine.model_formats.fiji.reading_net import SCORE, SLOPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.network.layers import Layer


def holdable(network: Layered) -> Architecture:
    """Return a network if the plugin's Caffe can hold it.

    Raises
    ------
    ValueError
        It cannot; says why.
    """
    if not isinstance(network, Architecture):
        raise ValueError("it is no U-Net as the plugin has them")
    if network.padded or network.window is not None or network.norm == "instance":
        raise ValueError(
            "it sees windows of a fixed size, which the plugin does not have"
        )
    wanted = {
        "block": "plain",
        "reduce": "max",
        "enlarge": "transposed",
        "skip": "concat",
        "last": (),
    }
    for name, value in wanted.items():
        if (found := getattr(network, name)) != value:
            raise ValueError(
                f"its {name} is {shown(found)}, the plugin has {value or 'none'}"
            )
    for kind in (network.activation, network.up_activation):
        if kind not in ("none", *SLOPES.values()):
            raise ValueError(f"the plugin has no activation {kind}")
    longest = max(max(len(level.down), len(level.up)) for level in network.levels)
    if longest > len(ascii_lowercase) - 2:
        raise ValueError(
            f"a level has {longest} convolutions, more than there are letters"
        )
    return network


@dataclass(frozen=True, slots=True)
class Written:
    """A network in Caffe's text, and where its weights go."""

    text: str
    # for each layer of the text, in order: its name, and ours whose weights it has
    layers: tuple[tuple[str, Layer | None], ...]
    # name of ours -> channels of its input that come last in ours and first in Caffe
    turned: Mapping[str, int]


def write_net(network: Architecture, image: str, offset: float) -> Written:
    """Write a network as it predicts, batch norms folded into its convolutions.

    `image` is the name of the map it begins with; `offset` is added to that. The
    network is one that is `holdable`.
    """
    return _Writer(network, image, offset).written()


class _Writer:
    """Writes the layers that a network draws."""

    def __init__(self, network: Architecture, image: str, offset: float) -> None:
        self._up_first = network.concat == "up_first"
        self._net = network.drawing
        self._lines: list[str] = []
        self._layers: list[tuple[str, Layer | None]] = []
        self._turned: dict[str, int] = {}
        self._level = "d0"
        self._letters = iter(ascii_lowercase)
        details = f"value_transformation_param {{ offset {{ v: {offset!r} }} }}"
        first = self._next()
        self._add(
            f"trafo_{image}-{first}", "ValueTransformation", [image], first, details
        )
        # names of the maps of our layers, by their numbers
        self._maps = {0: first}

    def written(self) -> Written:
        """Write all layers up to the scores."""
        kinds = {
            "conv": self._convolve,
            "up_conv": self._enlarge,
            "max_pool": self._pool,
            "activation": self._activate,
            "dropout": self._drop,
            "concat": self._join,
        }
        for number, layer in enumerate(self._net.layers[: self._net.scores + 1]):
            if layer.op == "norm":
                self._maps[number] = self._maps[layer.inputs[0]]
            elif layer.op != "input":
                self._maps[number] = kinds[layer.op](layer)
        text = "\n".join(("name: 'napari-unet'", *self._lines)) + "\n"
        return Written(text, tuple(self._layers), self._turned)

    def _convolve(self, layer: Layer) -> str:
        x = self._maps[layer.inputs[0]]
        is_last = layer.name == SCORE
        top = SCORE if is_last else self._next()
        end = top if is_last else top[-1]
        details = _convolution(layer)
        self._add(f"conv_{x}-{end}", "Convolution", [x], top, details, layer)
        joined = self._net.layers[layer.inputs[0]]
        if joined.op == "concat" and not self._up_first:
            self._turned[layer.name] = self._net.width(joined.inputs[1])
        return top

    def _enlarge(self, layer: Layer) -> str:
        x, depth = self._maps[layer.inputs[0]], int(layer.name.split(".")[1])
        top = self._next(f"u{depth}")
        details = _convolution(layer, _sizes("stride", layer.stride))
        self._add(f"upconv_{x}_{top}", "Deconvolution", [x], top, details, layer)
        return top

    def _pool(self, layer: Layer) -> str:
        x = self._maps[layer.inputs[0]]
        top = self._next(f"d{int(x[1:-1]) + 1}")
        sizes = _sizes("kernel_size", layer.stride), _sizes("stride", layer.stride)
        details = f"pooling_param {{ pool: MAX {' '.join(sizes)} }}"
        self._add(f"pool_{x}-{top[1:]}", "Pooling", [x], top, details)
        return top

    def _activate(self, layer: Layer) -> str:
        x = self._maps[layer.inputs[0]]
        slope = next(s for s, kind in SLOPES.items() if kind == layer.kind)
        details = f"relu_param {{ negative_slope: {slope:g} }}"
        self._add(f"relu_{x}", "ReLU", [x], x, details)
        return x

    def _drop(self, layer: Layer) -> str:
        x = self._maps[layer.inputs[0]]
        details = f"dropout_param {{ dropout_ratio: {layer.share:g} }}"
        phase = "include { phase: TRAIN }"
        self._add(f"dropout_{x}", "Dropout", [x], x, f"{details} {phase}")
        return x

    def _join(self, layer: Layer) -> str:
        first, second = (self._maps[n] for n in layer.inputs)
        up, skip = (first, second) if self._up_first else (second, first)
        top = self._next()
        self._add(f"concat_{skip}_{up}-{top[-1]}", "Concat", [up, skip], top)
        return top

    def _next(self, level: str = "") -> str:
        """Return the name of the next map of this level, or the first of another."""
        if level:
            self._level, self._letters = level, iter(ascii_lowercase)
        return f"{self._level}{next(self._letters)}"

    def _add(
        self,
        name: str,
        kind: str,
        bottoms: list[str],
        top: str,
        details: str = "",
        weights: Layer | None = None,
    ) -> None:
        read = " ".join(f"bottom: '{bottom}'" for bottom in bottoms)
        self._lines.append(
            f"layer {{ {read} top: '{top}' name: '{name}' type: '{kind}' {details} }}"
        )
        self._layers.append((name, weights))


def _convolution(layer: Layer, more: str = "") -> str:
    sizes = f"num_output: {layer.width} pad: 0 {_sizes('kernel_size', layer.kernel)}"
    rates = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
    filler = "weight_filler { type: 'msra' }"
    return f"{rates} convolution_param {{ {sizes} {more} {filler} }}"


def _sizes(name: str, sizes: tuple[int, ...]) -> str:
    return " ".join(f"{name}: {size}" for size in sizes)
