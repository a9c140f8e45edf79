"""Models of the U-Net plugin for Fiji (Falk et al. 2019): two HDF5 files each.

`NAME.modeldef.h5` says in Caffe's text what the network is, at which pixel size and
after which normalisation it sees images, and how borders weigh in its training;
`NAME.caffemodel.h5` holds its weights, in the order of axes that torch has, too.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any
from zlib import crc32

import h5py
import numpy as np
from pydantic import ValidationError

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.grey_steps import (
    Fixed,
    GreySteps,
    Maximum,
    MinMax,
    ZScore,
)
from napari_unet.core.images.normalisation import in_words
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.settings import BorderWeights, explain
from napari_unet.core.text import listed, reason, shown, times
from napari_unet.core.training.training_settings import FIJI, Augmentation, Training
from napari_unet.engine.model_formats.caffe_net import (
    CaffeNet,
    Written,
    read_net,
    refusal,
    write_net,
)
from napari_unet.io.atomic import atomic
from napari_unet.io.model_file import check_memory
from napari_unet.io.readers.hdf5 import check_inside, check_links

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.images.grey_steps import AnyStep
    from napari_unet.core.network.architecture import Architecture

DEFINITION, WEIGHTS = ".modeldef.h5", ".caffemodel.h5"
_BEGIN = b"\x89HDF\r\n\x1a\n"
# By the number that stands for it; of all channels of a plane or volume as one.
NORMALISATIONS: Mapping[int, tuple[AnyStep, ...]] = {
    0: (),
    1: (MinMax(together=True),),
    2: (ZScore(together=True),),
    3: (Maximum(together=True),),
}
# The texts of real files have some ten thousand bytes.
_LONGEST = 2**22
_CONSTANTS = "unet_param/pixelwise_loss_weights"
# What the plugin finetunes by: so many steps unless others are asked for, and tiles of
# this size, in pixels; in volumes there is no usual one.
_STEPS, _TILE = 1000, {2: 164, 3: 28}
# Name of the map that a network begins with.
_IMAGE = "data3"
_SOLVER = """type: 'Adam'
base_lr: 0.00001
lr_policy: 'fixed'
momentum: 0.9
momentum2: 0.999
max_iter: 600000
snapshot: 10000
snapshot_format: HDF5
"""
_NO_FINETUNING = (
    "Fiji predicts with the model, but cannot finetune it: layers that only its "
    "training needs are not written."
)


def recognises(path: Path) -> bool:
    """Whether a file is one of the two of a model."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(len(_BEGIN)) != _BEGIN:
            return False
    # what is wrong inside of these is said when they are read
    return path.name.lower().endswith((DEFINITION, WEIGHTS)) or _defines(path)


def read(path: Path) -> Model:
    """Read a model, given either of its files.

    Raises
    ------
    FileNotFoundError
        The other one is not beside it.
    ValueError
        One is damaged, the weights are others than those of the network, or this is
        none that can be had here.
    MemoryError
        The weights do not fit.
    """
    definition, weights, notes = _pair(path)
    with _opened(definition) as file:
        said = _Definition.of(file)
    with _opened(weights) as file:
        blobs = _Blobs(file)
        architecture = said.net.architecture(blobs.channels(said.net.names[0]))
        found = blobs.weights(architecture, said.net.names, weights)
    card = said.card(_stem(definition), architecture)
    return Model(card.replace(notes=(*card.notes, *notes)), found)


def write(model: Model, path: Path) -> tuple[str, ...]:
    """Write both files of a model; a name of either may be given.

    Batch norms are folded into the convolutions. The plugin predicts with it; it needs
    layers to finetune that are not written.

    Raises
    ------
    ValueError
        The plugin cannot hold the network, or what it sees or gives.
    """
    from napari_unet.engine.network.network import prepare, to_arrays

    card = model.card
    if problem := _refusal(card):
        raise ValueError(
            f"{card.name} cannot be a model of the Fiji plugin: {problem}."
        )
    kind, offset, notes = _normalisation(card)
    network = card.architecture
    name = _stem(path)
    net = write_net(network, name, _IMAGE, offset)
    weights = to_arrays(prepare(model, "cpu", "fp32").module.state_dict())
    first, second = BytesIO(), BytesIO()
    with h5py.File(first, "w", libver="earliest") as file:
        notes += _define(file, card, net.text, kind, name)
    with h5py.File(second, "w", libver="earliest") as file:
        _put_weights(file, net, weights)
    with (
        atomic(path.with_name(name + DEFINITION)) as definition,
        atomic(path.with_name(name + WEIGHTS)) as blobs,
    ):
        definition.write_bytes(first.getbuffer())
        blobs.write_bytes(second.getbuffer())
    return (*notes, _NO_FINETUNING)


def _refusal(card: ModelCard) -> str:
    if card.members > 1:
        return f"it is the mean of {card.members} networks, the plugin has one"
    if card.outputs is not None:
        return "it makes an image, the plugin has classes"
    return refusal(card.architecture)


def _normalisation(card: ModelCard) -> tuple[int, float, tuple[str, ...]]:
    """Return the plugin's normalisation, what is added then, and what differs."""
    rule = card.normalisation
    if not isinstance(rule, GreySteps):
        note = (
            "In Fiji grey values are brought to mean 0, sd 1 of all pixels and "
            f"channels; the model has learnt another rule ({in_words(rule)}), so the "
            "result differs: compare some images."
        )
        return 2, 0.0, (note,)
    steps, offset = rule.steps, 0.0
    if (
        steps
        and isinstance(steps[-1], Fixed)
        and steps[-1] == Fixed(mean=steps[-1].mean)
    ):
        steps, offset = steps[:-1], -steps[-1].mean
    if card.architecture.channels == 1:
        # together or alone, it is the same
        steps = tuple(
            step.replace(together=True)
            if "together" in type(step).model_fields
            else step
            for step in steps
        )
    for kind, known in NORMALISATIONS.items():
        if steps == known:
            return kind, offset, ()
    raise ValueError(
        f"{card.name} cannot be a model of the Fiji plugin: it sees grey values by "
        f"{rule.words}, which the plugin does not have."
    )


def _define(
    file: h5py.File, card: ModelCard, text: str, kind: int, name: str
) -> tuple[str, ...]:
    """Write the first file; return what had to be assumed."""
    network, border = card.architecture, card.training.border
    ndim, notes = network.ndim, ()
    spacing = card.spacing_um
    if spacing is None:
        spacing = (1.0,) * ndim
        notes = (
            "The pixel size of the model is not known: the file says 1 µm, and Fiji "
            "resamples images that say another.",
        )
    given, got = _pads(network)
    said = {
        ".unet-ident": f"napari-unet-{name}-{crc32(text.encode()):08x}",
        "unet_param/name": card.name,
        "unet_param/description": " ".join(card.notes),
        "unet_param/input_blob_name": _IMAGE,
        "unet_param/input_dataset_name": "data",
        "unet_param/padding": "mirror",
        "model_prototxt": text,
        "solver_prototxt": _SOLVER,
    }
    for where, value in said.items():
        _put_text(file, where, value)
    numbers = {
        "normalization_type": np.int32(kind),
        "downsampleFactor": np.array(network.step, np.int32),
        "padInput": np.array(given, np.int32),
        "padOutput": np.array(got, np.int32),
        "element_size_um": np.array(spacing, np.float64),
        "diskRadiusPx": np.int32(2),
        "pixelwise_loss_weights/borderWeightFactor": np.float32(border.w0),
        "pixelwise_loss_weights/borderWeightSigmaPx": np.float32(border.sigma),
        "pixelwise_loss_weights/foregroundBackgroundRatio": np.float32(border.balance),
        "pixelwise_loss_weights/sigma1Px": np.float32(border.near_sigma),
    }
    for where, number in numbers.items():
        file[f"unet_param/{where}"] = number
    names = [n.encode() for n in ("Background", *(c.name for c in card.classes))]
    kept = h5py.string_dtype("utf-8", max(map(len, names)))
    file["unet_param/classNames"] = np.array(names, dtype=kept)
    return notes


def _pads(network: Architecture) -> tuple[list[int], list[int]]:
    """Return what inputs and outputs are beyond multiples of the step, along each axis.

    Those of the bottom level are any number of pixels; each level above has as many
    times the pooling, and what its convolutions take.
    """
    given, got = [], []
    for axis in range(network.ndim):
        above = below = 0
        for level in reversed(network.levels):
            lost = level.kernel[axis] - 1
            above = above * level.pool[axis] + lost * len(level.down) * bool(level.up)
            below = below * level.pool[axis] - lost * len(level.up or level.down)
        given.append(above)
        got.append(below)
    return given, got


def _put_weights(
    file: h5py.File, net: Written, weights: Mapping[str, NDArray[np.generic]]
) -> None:
    """Write a group for each layer, as Caffe does, with its weights and its bias."""
    data = file.create_group("data")
    for name, ours in net.layers:
        group = data.create_group(name)
        if ours is not None:
            kernel = weights[f"{ours.name}.weight"]
            if last := net.turned.get(ours.name):
                kernel = np.roll(kernel, last, axis=1)
            none = np.zeros(ours.width, np.float32)
            bias = weights.get(f"{ours.name}.bias", none)
            group["0"], group["1"] = kernel, bias


def _put_text(file: h5py.File, where: str, value: str) -> None:
    """Write a text as the plugin's library does: of fixed length, filled up with 0."""
    content = value.encode() or b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(content))
    kind.set_strpad(h5py.h5t.STR_NULLPAD)
    kind.set_cset(h5py.h5t.CSET_UTF8)
    folder, _, name = where.rpartition("/")
    group = file.require_group(folder or "/")
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    dataset = h5py.h5d.create(group.id, name.encode(), kind, space)
    everything = h5py.h5s.ALL
    dataset.write(everything, everything, np.array(content), mtype=kind)


@dataclass(frozen=True, slots=True)
class _Definition:
    """What the first file says."""

    title: str
    net: CaffeNet
    # ([z,] y, x)
    spacing_um: tuple[float, ...]
    normalisation: GreySteps
    border: BorderWeights
    # with that of the background; none if the file has none
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, file: h5py.File) -> _Definition:
        """Read it."""
        spacing = _numbers(file, "unet_param/element_size_um")
        if len(spacing) not in (2, 3) or not all(s > 0 for s in spacing):
            raise ValueError(
                "element_size_um has 2 or 3 positive numbers, found "
                f"{shown(list(spacing))}"
            )
        blob = _text(file, "unet_param/input_blob_name")
        net = read_net(_text(file, "model_prototxt"), len(spacing), blob or "data3")
        kind = _numbers(file, "unet_param/normalization_type")
        if len(kind) != 1 or kind[0] not in NORMALISATIONS:
            raise ValueError(
                f"normalization_type is one of {', '.join(map(str, NORMALISATIONS))}, "
                f"found {shown(list(kind))}"
            )
        steps = NORMALISATIONS[int(kind[0])]
        if net.offset:
            steps = (*steps, Fixed(mean=-net.offset))
        border, notes = _border(file, spacing[-1])
        if _text(file, "unet_param/padding") == "zero":
            notes += (
                "In Fiji there are zeros beyond the edges of an image, here it is "
                "mirrored: near edges the result differs.",
            )
        return cls(
            _text(file, "unet_param/name"),
            net,
            spacing,
            GreySteps(steps=steps, each_slice=len(spacing) == 2),
            border,
            _texts(file, "unet_param/classNames"),
            (*notes, *net.notes),
        )

    def card(self, name: str, architecture: Architecture) -> ModelCard:
        """Return it as the card of a model."""
        count, notes = architecture.classes - 1, self.notes
        names = self.classes[1:]
        if len(names) != count or not all(names):
            names = tuple(f"class {k}" for k in range(1, count + 1))
            notes += ("The file does not name its classes.",)
        title = (
            f"The model comes from the Fiji plugin, where it is {shown(self.title)}."
        )
        return ModelCard(
            name=name,
            architecture=architecture,
            classes=tuple(ClassInfo(name=name) for name in names),
            normalisation=self.normalisation,
            spacing_um=self.spacing_um,
            notes=(title, *notes),
            training=_recipe(architecture, self.border),
        )


def _recipe(architecture: Architecture, border: BorderWeights) -> Training:
    """Return how the plugin goes on to train a network: with Adam, and its weights."""
    levels, ndim = architecture.levels, architecture.ndim
    return Training(
        preset=FIJI,
        ndim=ndim,  # type: ignore[arg-type]
        width=min(levels[0].down[0], 256),
        depth=min(max(len(levels) - 1, 1), 7),
        norm="none",
        dropout=levels[-1].dropout,
        optimiser="adamw",
        learning_rate=1e-4,
        momentum=0.9,
        weight_decay=0.0,
        schedule="constant",
        averaging=0.0,
        batch=1,
        patch=_TILE[ndim],
        # pixels of objects are drawn ten times as often as others
        foreground=0.7,
        steps=_STEPS,
        minutes=0.0,
        border=border,
        augmentation=Augmentation(
            mirror=False, scale=1.0, contrast=1.2, gamma=1.0, noise=0.0, blur=0.0
        ),
    )


def _border(file: h5py.File, pixel_um: float) -> tuple[BorderWeights, tuple[str, ...]]:
    """Return the constants of the loss's weights, and say which were assumed.

    Lengths are in pixels, or in micrometres in the plugin's first files.
    """
    usual = BorderWeights.fiji()
    found: dict[str, float] = {}
    for field, name, is_length in (
        ("w0", "borderWeightFactor", False),
        ("sigma", "borderWeightSigma", True),
        ("balance", "foregroundBackgroundRatio", False),
        ("near_sigma", "sigma1", True),
    ):
        units = (("Px", 1.0), ("_um", pixel_um)) if is_length else (("", 1.0),)
        for unit, divisor in units:
            values = _numbers(file, f"{_CONSTANTS}/{name}{unit}")
            if values:
                found.setdefault(field, values[0] / divisor)
    missing = [
        name for name in ("w0", "sigma", "balance", "near_sigma") if name not in found
    ]
    notes = (
        (
            "Of the weights of its training, the file does not say "
            f"{', '.join(missing)}: those that the plugin has are taken.",
        )
        if missing
        else ()
    )
    return usual.replace(**found), notes


class _Blobs:
    """The weights in the second file, by the names of their layers."""

    def __init__(self, file: h5py.File) -> None:
        check_links(file, "data")
        group = file.get("data")
        if not isinstance(group, h5py.Group):
            raise ValueError("it holds no weights")
        self._file = file
        # some programs write the one for the other
        self._names = {name.replace("-", "_"): name for name in group}

    def channels(self, layer: str) -> int:
        """Return how many a layer reads."""
        shape = self._blob(layer, 0).shape
        return int(shape[1]) if len(shape) > 1 else 0

    def weights(
        self, architecture: Architecture, names: tuple[str, ...], path: Path
    ) -> dict[str, NDArray[np.generic]]:
        """Return those of all layers, as a network of ours has them."""
        net = architecture.drawing
        layers = [n for n in net.layers if n.op in ("conv", "up_conv")]
        shapes = {}
        for ours, theirs in zip(layers, names, strict=True):
            width, before = ours.width, net.width(ours.inputs[0])
            sides = (width, before) if ours.op == "conv" else (before, width)
            shapes[f"{ours.name}.weight"] = theirs, 0, (*sides, *ours.kernel)
            shapes[f"{ours.name}.bias"] = theirs, 1, (width,)
        check_memory(path, sum(prod(shape) for *_, shape in shapes.values()))
        return {name: self._array(*where) for name, where in shapes.items()}

    def _array(
        self, layer: str, number: int, shape: tuple[int, ...]
    ) -> NDArray[np.generic]:
        if number == 1 and "1" not in self._group(layer):
            # it was told to have none
            return np.zeros(shape, np.float32)
        blob = self._blob(layer, number)
        # of Caffe's first versions a bias has four axes
        alike = blob.shape == shape or (number == 1 and blob.size == prod(shape))
        if not alike or blob.dtype.kind != "f":
            raise ValueError(
                f"the weights of {shown(layer)} are {times(blob.shape)} of "
                f"{blob.dtype}, the network has {times(shape)} numbers there"
            )
        found: NDArray[np.generic] = np.asarray(blob[()], np.float32).reshape(shape)
        return found

    def _blob(self, layer: str, number: int) -> h5py.Dataset:
        blob = _dataset(self._file, f"{self._group(layer).name}/{number}")
        if blob is None:
            raise ValueError(f"the weights of {shown(layer)} are missing")
        return blob

    def _group(self, layer: str) -> h5py.Group:
        name = self._names.get(layer.replace("-", "_"))
        if name is None:
            raise ValueError(f"the weights of {shown(layer)} are missing")
        check_links(self._file, f"data/{name}")
        group = self._file["data"][name]
        if not isinstance(group, h5py.Group):
            raise ValueError(f"the weights of {shown(layer)} are damaged")
        return group


def _pair(path: Path) -> tuple[Path, Path, tuple[str, ...]]:
    """Return both files of a model and, if that is not plain, say which they are."""
    wanted = DEFINITION if path.name.lower().endswith(WEIGHTS) else WEIGHTS
    other, notes = path.with_name(_stem(path) + wanted), ()
    if not other.is_file():
        found = sorted(
            file
            for file in path.parent.iterdir()
            if file.is_file() and file.name.lower().endswith(wanted)
        )
        if len(found) != 1:
            there = listed([file.name for file in found])
            raise FileNotFoundError(
                f"{path} is one of the two files of a model of the Fiji plugin, and "
                f"{other.name} is not beside it"
                + (f"; there are {there}." if there else ".")
            )
        other = found[0]
        notes = (f"Of its two files, {path.name} and {other.name} are taken together.",)
    return (path, other, notes) if wanted == WEIGHTS else (other, path, notes)


def _stem(path: Path) -> str:
    """Return the name that both files of a model have in common."""
    for suffix in (DEFINITION, WEIGHTS, ".h5"):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a file; whatever is wrong in it becomes a sentence."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {reason(error)}.") from error


def _defines(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return "unet_param" in file and "model_prototxt" in file
    # whatever a damaged file of another kind makes the library stumble over
    except (OSError, RuntimeError):
        return False


def _dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return a dataset of the file itself; None if there is none."""
    if name not in file:
        return None
    check_links(file, name.strip("/"))
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        return None
    check_inside(file, found)
    return found


def _values(file: h5py.File, name: str) -> list[Any]:
    """Return the few values of a dataset, one or an array of them."""
    found = _dataset(file, name)
    if found is None:
        return []
    if found.nbytes > _LONGEST:
        raise ValueError(f"{name} claims {found.nbytes} bytes")
    values: list[Any] = np.ravel(found[()]).tolist()
    return values


def _numbers(file: h5py.File, name: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, _values(file, name)))
    except (TypeError, ValueError):
        raise ValueError(f"{name} holds no numbers") from None


def _texts(file: h5py.File, name: str) -> tuple[str, ...]:
    values = _values(file, name)
    return tuple(
        (v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)).rstrip("\0")
        for v in values
    )


def _text(file: h5py.File, name: str) -> str:
    return "".join(_texts(file, name)[:1])
