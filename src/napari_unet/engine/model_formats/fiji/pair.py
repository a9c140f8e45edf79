"""Models of the U-Net plugin for Fiji (Falk et al. 2019): two HDF5 files each.

`NAME.modeldef.h5` says in Caffe's text what the network is, at which pixel size and
after which normalisation it sees images, and how borders weigh in its training;
`NAME.caffemodel.h5` holds its weights.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import h5py

from napari_unet.core.model import Model
from napari_unet.core.text import listed
from napari_unet.engine.model_formats.fiji.definition import (
    IMAGE,
    Definition,
    define,
    normalisation_of,
)
from napari_unet.engine.model_formats.fiji.hdf5 import opened
from napari_unet.engine.model_formats.fiji.weights import Blobs, put_weights
from napari_unet.engine.model_formats.fiji.writing_net import holdable, write_net
from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.model import ModelCard
    from napari_unet.core.network.architecture import Architecture

DEFINITION, WEIGHTS = ".modeldef.h5", ".caffemodel.h5"
_BEGIN = b"\x89HDF\r\n\x1a\n"
_NO_FINETUNING = (
    "Fiji predicts with the model, but cannot finetune it: layers that only its "
    "training needs are not written. A definition of the same network that the plugin "
    "has made takes its weights."
)


def recognises(path: Path) -> bool:
    """Whether a file is one of the two of a model."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(len(_BEGIN)) != _BEGIN:
            return False
    # what is wrong in them is reported when they are read
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
    with opened(definition) as file:
        said = Definition.of(file)
    with opened(weights) as file:
        blobs = Blobs(file)
        first, _ = said.net.names[0]
        architecture = said.net.architecture(blobs.channels(first))
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

    card, name = model.card, _stem(path)
    try:
        network = _holdable(card)
        kind, offset, notes = normalisation_of(card)
    except ValueError as error:
        raise ValueError(
            f"{card.name} cannot be a model of the Fiji plugin: {error}."
        ) from error
    net = write_net(network, IMAGE, offset)
    weights = to_arrays(prepare(model, "cpu", "fp32").module.state_dict())
    # HDF5 that cannot write to a disk ends the process: it writes to memory
    first, second = BytesIO(), BytesIO()
    with h5py.File(first, "w", libver="earliest") as file:
        notes += define(file, card, network, net.text, kind, name)
    with h5py.File(second, "w", libver="earliest") as file:
        put_weights(file, net, weights)
    with (
        atomic(path.with_name(name + DEFINITION)) as definition,
        atomic(path.with_name(name + WEIGHTS)) as blobs,
    ):
        definition.write_bytes(first.getvalue())
        blobs.write_bytes(second.getvalue())
    return (*notes, _NO_FINETUNING)


def _holdable(card: ModelCard) -> Architecture:
    if card.members > 1:
        raise ValueError(
            f"it is the mean of {card.members} networks, the plugin has one"
        )
    if card.outputs is not None:
        raise ValueError("it makes an image, the plugin has classes")
    return holdable(card.architecture)


def _pair(path: Path) -> tuple[Path, Path, tuple[str, ...]]:
    """Return both files of a model and, if that is not plain, say which they are."""
    wanted = DEFINITION if path.name.lower().endswith(WEIGHTS) else WEIGHTS
    other = path.with_name(_stem(path) + wanted)
    notes: tuple[str, ...] = ()
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


def _defines(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return "unet_param" in file and "model_prototxt" in file
    # whatever a damaged file of another kind makes the library stumble over
    except (OSError, RuntimeError):
        return False
