"""U-Nets in the words of Caffe, as the Fiji plugin has them, read as tables of levels.

A concatenation cuts its later inputs to the first's size in the plugin's Caffe. Names
mean nothing but which map is which; what is for training alone is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_unet.core.network.architecture import Architecture, Level
from napari_unet.core.text import shown, times
from napari_unet.engine.model_formats.fiji.prototxt import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.network.layers import Activation
    from napari_unet.engine.model_formats.fiji.prototxt import Message

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
    # names of the layers with weights, in the order of those of `Layered.draw`, and
    # whether they have a bias
    names: tuple[tuple[str, bool], ...]
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
        self._names: list[tuple[str, bool]] = []
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
        self._add(layer, said)

    def _enlarge(self, layer: _Layer) -> None:
        said = layer.checked("convolution_param", _CONVOLUTION)
        self._rises, self._depth = True, self._depth - 1
        factor = self._axes(layer, said, "stride", "1")
        if self._depth < 0 or self._levels[self._depth].pool != factor:
            raise layer.wrong(f"enlarges by {times(factor)}")
        if (kernel := self._axes(layer, said, "kernel_size")) != factor:
            raise layer.wrong(f"has the kernel {times(kernel)}")
        self._levels[self._depth].up_conv = _width(layer, said)
        self._add(layer, said)

    def _add(self, layer: _Layer, said: Message) -> None:
        self._slopes[layer.type].append(None)
        self._names.append((layer.name, said.get("bias_term", ["true"]) != ["false"]))

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
