"""U-Nets of Caffe, in the words of the Fiji plugin, as tables of levels and back.

In the plugin's Caffe a concatenation cuts its later inputs to the first's size. Names
are d0a, d0b, ... for the maps of the contracting path, by level, and u0a, u0b, ... for
those of the expanding one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from napari_unet.core.network.architecture import Architecture, Level
from napari_unet.core.text import shown, times
from napari_unet.engine.model_formats.prototxt import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.network.layers import Activation, Layer
    from napari_unet.engine.model_formats.prototxt import Message

SCORE = "score"
SLOPES: dict[float, Activation] = {
    0.0: "relu",
    0.1: "leaky_relu",
    0.01: "leaky_relu_01",
}
# No layer of a network that fits anywhere has more channels.
_WIDEST = 2**16
# What may be said of a layer; of some only values that change nothing.
_CONVOLUTION: Mapping[str, set[str] | None] = {
    **dict.fromkeys(("num_output", "kernel_size", "stride", "bias_term", "engine")),
    **dict.fromkeys(("weight_filler", "bias_filler", "force_nd_im2col")),
    "pad": {"0"},
    "dilation": {"1"},
    "group": {"1"},
    "axis": {"1"},
}
_POOLING: Mapping[str, set[str] | None] = {
    **dict.fromkeys(("kernel_size", "stride", "engine")),
    "pool": {"MAX"},
    "pad": {"0"},
}


@dataclass(frozen=True, slots=True)
class CaffeNet:
    """A network as Caffe's text says it, but for the channels of its image."""

    levels: tuple[Level, ...]
    classes: int
    activation: Activation
    up_activation: Activation
    up_first: bool
    # what is added to the image first
    offset: float
    # names of the layers with weights, in the order of those of `Layered.draw`
    names: tuple[str, ...]
    # what was left out, in sentences
    notes: tuple[str, ...]

    def architecture(self, channels: int) -> Architecture:
        """Return it as a network of ours."""
        return Architecture(
            channels=channels,
            classes=self.classes,
            levels=self.levels,
            activation=self.activation,
            up_activation=self.up_activation,
            concat="up_first" if self.up_first else "skip_first",
        )


def read_net(text: str, ndim: int, image: str) -> CaffeNet:
    """Read a network as it predicts; `image` is the name of the map it begins with.

    Raises
    ------
    ValueError
        The text is damaged, or the network is no U-Net that can be had here; names the
        layer.
    """
    reader = _Reader(ndim, image)
    layers = parse(text).get("layer", [])
    if not layers:
        raise ValueError("it describes no layers")
    for layer in layers:
        if not isinstance(layer, dict):
            raise ValueError(f"a layer is a message, found {shown(layer)}")
        reader.read(_Layer(layer))
    return reader.net()


@dataclass(slots=True)
class _Level:
    """A level that is being read."""

    down: list[int] = field(default_factory=list)
    up: list[int] = field(default_factory=list)
    up_conv: int = 0
    kernels: set[tuple[int, ...]] = field(default_factory=set)
    pool: tuple[int, ...] = ()
    dropout: float = 0.0
    skip: str = ""  # name of the map that goes across


class _Layer:
    """A layer of the text."""

    def __init__(self, said: Message) -> None:
        self._said = said
        self.name, self.type = self._one("name"), self._one("type")
        self.bottoms = [str(b) for b in said.get("bottom", [])]
        self.top = self._one("top")

    def _one(self, name: str) -> str:
        return str(self._said.get(name, [""])[0])

    @property
    def predicts(self) -> bool:
        """Whether it is there when the network predicts, and no stage is asked for."""

        def met(rule: Message) -> bool:
            return rule.get("phase", ["TEST"])[0] == "TEST" and "stage" not in rule

        rules = {
            key: [rule for rule in self._said.get(key, ()) if isinstance(rule, dict)]
            for key in ("include", "exclude")
        }
        if rules["include"]:
            return any(map(met, rules["include"]))
        return not any(map(met, rules["exclude"]))

    def param(self, name: str) -> Message:
        """Return the message with the details of a kind of layer."""
        found = self._said.get(name, [{}])[0]
        return found if isinstance(found, dict) else {}

    def checked(self, name: str, known: Mapping[str, set[str] | None]) -> Message:
        """Return the details if they say nothing that is not had here."""
        said = self.param(name)
        for key, values in said.items():
            if key not in known:
                raise self.wrong(f"says {shown(key)}")
            allowed = known[key]
            for value in values:
                if allowed is not None and str(value) not in allowed:
                    raise self.wrong(f"has {key} {shown(value)}")
        return said

    def wrong(self, what: str) -> ValueError:
        """Return the error of a network that is none of ours."""
        return ValueError(
            f"its layer {shown(self.name)} ({shown(self.type)}) {what}, which no "
            "network here can have"
        )


class _Reader:
    """Follows the layers in their order, down the levels and up again."""

    def __init__(self, ndim: int, image: str) -> None:
        self.map = image  # name of the map that the next layer reads
        self._image = image
        self._ndim = ndim
        self._levels = [_Level()]
        self._depth = 0
        self._rises = False
        self._offset = 0.0
        self._classes = 0
        # slope behind each convolution, and behind each up-convolution; None for none
        self._slopes: dict[str, list[float | None]] = {
            "Convolution": [],
            "Deconvolution": [],
        }
        self._orders: set[bool] = set()
        self._before = ""  # kind of the layer before
        self._names: list[str] = []
        self._notes: list[str] = []

    def read(self, layer: _Layer) -> None:
        """Take note of a layer."""
        if layer.type == "Dropout":
            self._drop(layer)
            return
        if not layer.predicts or not layer.bottoms:
            return
        if self.map == SCORE:
            if layer.top == SCORE:
                raise layer.wrong("changes the scores")
            # losses and the like
            return
        kinds = {
            "ValueTransformation": self._shift,
            "Convolution": self._convolve,
            "ReLU": self._activate,
            "Pooling": self._pool,
            "Deconvolution": self._enlarge,
            "Concat": self._join,
        }
        if layer.type not in kinds:
            raise layer.wrong("is of a kind")
        if layer.type != "Concat" and layer.bottoms != [self.map]:
            raise layer.wrong(f"reads {shown(', '.join(layer.bottoms))}")
        kinds[layer.type](layer)
        self.map, self._before = layer.top, layer.type

    def net(self) -> CaffeNet:
        """Return what was read; a ValueError says what is missing or differs."""
        if self.map != SCORE:
            raise ValueError(f"no layer gives the map {SCORE!r}")
        if self._depth:
            raise ValueError("its scores are not at the finest level")
        paths, ups = self._slopes.values()
        if len(self._orders) > 1:
            raise ValueError("its maps are not joined in one order")
        return CaffeNet(
            tuple(self._finished(level) for level in self._levels),
            self._classes,
            # the scores have none
            _activation(paths[:-1]),
            _activation(ups),
            up_first=self._orders != {False},
            offset=self._offset,
            names=tuple(self._names),
            notes=tuple(self._notes),
        )

    def _finished(self, level: _Level) -> Level:
        is_bottom = level is self._levels[-1]
        if len(level.kernels) != 1 or not level.down or is_bottom != (not level.up):
            raise ValueError(
                "its levels do not all have convolutions of one size on both paths"
            )
        return Level(
            down=tuple(level.down),
            up=tuple(level.up),
            up_conv=level.up_conv,
            kernel=level.kernels.copy().pop(),
            pool=level.pool or (1,) * self._ndim,
            dropout=level.dropout,
        )

    def _shift(self, layer: _Layer) -> None:
        said = layer.checked("value_transformation_param", {"offset": None})
        offset = said.get("offset", [{}])[0]
        values = offset.get("v", ["0"]) if isinstance(offset, dict) else [offset]
        if self.map != self._image or len(set(map(str, values))) != 1:
            raise layer.wrong(f"adds {shown(', '.join(map(str, values)))} here")
        self._offset = _number(layer, values[0])

    def _convolve(self, layer: _Layer) -> None:
        said = layer.checked("convolution_param", _CONVOLUTION)
        kernel, width = self._axes(layer, said, "kernel_size"), _width(layer, said)
        if any(n != 1 for n in self._axes(layer, said, "stride", "1")):
            raise layer.wrong("has a stride")
        if layer.top == SCORE:
            if any(n != 1 for n in kernel):
                raise layer.wrong(f"has the kernel {times(kernel)}")
            self._classes = width
        else:
            level = self._levels[self._depth]
            level.kernels.add(kernel)
            (level.up if self._rises else level.down).append(width)
        self._add(layer)

    def _enlarge(self, layer: _Layer) -> None:
        said = layer.checked("convolution_param", _CONVOLUTION)
        self._rises, self._depth = True, self._depth - 1
        factor = self._axes(layer, said, "stride", "1")
        if self._depth < 0 or self._levels[self._depth].pool != factor:
            raise layer.wrong(f"enlarges by {times(factor)}")
        if (kernel := self._axes(layer, said, "kernel_size")) != factor:
            raise layer.wrong(f"has the kernel {times(kernel)}")
        self._levels[self._depth].up_conv = _width(layer, said)
        self._add(layer)

    def _add(self, layer: _Layer) -> None:
        self._slopes[layer.type].append(None)
        self._names.append(layer.name)

    def _activate(self, layer: _Layer) -> None:
        said = layer.checked("relu_param", {"negative_slope": None, "engine": None})
        slope = _number(layer, said.get("negative_slope", ["0"])[0])
        if self._before not in self._slopes:
            raise layer.wrong("is behind no convolution")
        if slope not in SLOPES:
            raise layer.wrong(f"has the slope {slope:g}")
        self._slopes[self._before][-1] = slope

    def _pool(self, layer: _Layer) -> None:
        said = layer.checked("pooling_param", _POOLING)
        factor = self._axes(layer, said, "stride", "1")
        if self._axes(layer, said, "kernel_size") != factor or self._rises:
            raise layer.wrong(f"pools by {times(factor)}")
        level = self._levels[self._depth]
        level.pool, level.skip = factor, self.map
        self._levels.append(_Level())
        self._depth += 1

    def _join(self, layer: _Layer) -> None:
        joined = [self.map, self._levels[self._depth].skip]
        if self._before not in ("Deconvolution", "ReLU") or not self._rises:
            raise layer.wrong("is behind no up-convolution")
        if layer.bottoms not in (joined, joined[::-1]):
            raise layer.wrong(f"joins {shown(', '.join(layer.bottoms))}")
        self._orders.add(layer.bottoms == joined)

    def _drop(self, layer: _Layer) -> None:
        if layer.bottoms != [self.map] or layer.top != self.map or self._rises:
            self._notes.append(
                f"The dropout {shown(layer.name)} is left out: it is for training."
            )
            return
        ratio = layer.param("dropout_param").get("dropout_ratio", ["0.5"])[0]
        self._levels[self._depth].dropout = _number(layer, ratio)

    def _axes(
        self, layer: _Layer, said: Message, name: str, usual: str = ""
    ) -> tuple[int, ...]:
        """Return a size along each axis; one stands for all."""
        values = said.get(name, [usual])
        try:
            sizes = tuple(int(value) for value in values)
        except (TypeError, ValueError):
            sizes = ()
        if len(sizes) not in (1, self._ndim) or min(sizes) < 1:
            raise layer.wrong(f"has {name} {shown(', '.join(map(str, values)))}")
        return sizes * self._ndim if len(sizes) == 1 else sizes


def _width(layer: _Layer, said: Message) -> int:
    found = str(said.get("num_output", [""])[0])
    if not found.isdecimal() or not 1 <= int(found[:9]) <= _WIDEST:
        raise layer.wrong(f"has num_output {shown(found)}")
    return int(found)


def _number(layer: _Layer, text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        raise layer.wrong(f"has {shown(text)} in place of a number") from None


def _activation(slopes: list[float | None]) -> Activation:
    kinds: set[Activation] = {"none" if s is None else SLOPES[s] for s in slopes}
    if len(kinds) > 1:
        raise ValueError("its convolutions do not all have the same activation")
    return kinds.pop() if kinds else "none"


def refusal(network: Layered) -> str:
    """Say why the plugin's Caffe cannot hold a network; empty if it can."""
    if not isinstance(network, Architecture):
        return "it is no U-Net as the plugin has them"
    if network.padded or network.window is not None or network.norm == "instance":
        return "it sees windows of a fixed size, which the plugin does not have"
    wanted = {
        "block": "plain",
        "reduce": "max",
        "enlarge": "transposed",
        "skip": "concat",
        "last": (),
    }
    for name, value in wanted.items():
        if (found := getattr(network, name)) != value:
            return f"its {name} is {shown(found)}, the plugin has {value or 'none'}"
    slopes = {"none", *SLOPES.values()}
    if not {network.activation, network.up_activation} <= slopes:
        return f"the plugin has no activation {network.activation}"
    longest = max(max(len(level.down), len(level.up)) for level in network.levels)
    if longest > len(ascii_lowercase) - 2:
        return f"a level has {longest} convolutions, more than there are letters"
    return ""


@dataclass(frozen=True, slots=True)
class Written:
    """A network in Caffe's text, and where its weights go."""

    text: str
    # for each layer of the text, in order: its name, and ours whose weights it has
    layers: tuple[tuple[str, Layer | None], ...]
    # name of ours -> channels of its input that come last in ours and first in Caffe
    turned: Mapping[str, int]


def write_net(network: Architecture, name: str, image: str, offset: float) -> Written:
    """Write a network as it predicts, batch norms folded into its convolutions.

    `image` is the name of the map it begins with; `offset` is added to that. The
    network is none that `refusal` has a word for.
    """
    return _Writer(network, image, offset).written(name)


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
        details = f"value_transformation_param {{ offset {{ v: {offset:g} }} }}"
        first = self._next()
        self._add(
            f"trafo_{image}-{first}", "ValueTransformation", [image], first, details
        )
        # names of the maps of our layers, by their numbers
        self._maps = {0: first}

    def written(self, name: str) -> Written:
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
        text = "\n".join((f"name: '{name}'", *self._lines)) + "\n"
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
