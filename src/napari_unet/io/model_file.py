"""The model file: safetensors with a JSON header. Loading it never runs code.

A checkpoint is the same file with more in it (what training needs to go on), so each
checkpoint can be used as a model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from napari_unet.core.model import Model, ModelCard
from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT = "napari-unet model"
VERSION = 1
SUFFIX = ".safetensors"

_WEIGHTS, _STATE = "weights/", "state/"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A model in training, with all that is needed to go on.

    Attributes
    ----------
    model : Model
        Usable for prediction.
    tensors : mapping of str to ndarray
        State of the training, by name; empty in a finished model.
    progress : str
        JSON that belongs to it.
    """

    model: Model
    tensors: Mapping[str, NDArray[np.generic]]
    progress: str = "{}"


def save_model(model: Model, path: str | Path) -> None:
    """Write a model file.

    Parameters
    ----------
    model : Model
    path : str or Path
        By custom with the suffix .safetensors. Replaced only when all is written.

    Raises
    ------
    OSError
        If the file cannot be written, with the reason; nothing is left behind.
    """
    save_checkpoint(Checkpoint(model, {}), path)


def load_model(path: str | Path) -> Model:
    """Read a model file, or the model in a checkpoint.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, not a model file, or of a newer format.
    """
    return _read(Path(path), with_state=False).model


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint; as `save_model`."""
    model = checkpoint.model
    tensors = {_WEIGHTS + name: w for name, w in model.weights.items()}
    tensors |= {_STATE + name: t for name, t in checkpoint.tensors.items()}
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "card": model.card.model_dump_json(),
        "progress": checkpoint.progress,
    }
    arrays = {name: np.asarray(t, order="C") for name, t in tensors.items()}
    with atomic(Path(path)) as temporary:
        # through bytes: the library's own file writing hides the system's reason
        temporary.write_bytes(save(arrays, metadata=header))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint; as `load_model`.

    Raises
    ------
    ValueError
        Also if the file is a finished model without the state of its training.
    """
    checkpoint = _read(Path(path), with_state=True)
    if not checkpoint.tensors:
        raise ValueError(
            f"{path} is a finished model, not a checkpoint; "
            "start from it with --init instead of --resume."
        )
    return checkpoint


def read_card(path: str | Path) -> ModelCard:
    """Read only the card of a model file; as `load_model`."""
    path = Path(path)
    with _opened(path) as file:
        return _card(file.metadata() or {}, path)


def _read(path: Path, *, with_state: bool) -> Checkpoint:
    with _opened(path) as file:
        header = file.metadata() or {}
        card = _card(header, path)
        names = file.keys()
        weights = {
            n.removeprefix(_WEIGHTS): file.get_tensor(n)
            for n in names
            if n.startswith(_WEIGHTS)
        }
        state = {
            n.removeprefix(_STATE): file.get_tensor(n)
            for n in names
            if with_state and n.startswith(_STATE)
        }
    return Checkpoint(Model(card, weights), state, header.get("progress", "{}"))


def _opened(path: Path) -> safe_open:
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {path}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a model file.")
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a napari-unet model, or is damaged or incomplete ({error})."
        ) from error


def _card(header: Mapping[str, str], path: Path) -> ModelCard:
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a safetensors file, but not a napari-unet model: "
            f"its format is {header.get('format')!r}, expected {FORMAT!r}."
        )
    version = header.get("version", "")
    if version != str(VERSION):
        raise ValueError(
            f"{path} has model format {version}, this napari-unet reads format "
            f"{VERSION}; install a newer napari-unet."
        )
    try:
        card = ModelCard.model_validate(json.loads(header["card"]))
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} has a damaged model card: {str(error).splitlines()[0]}."
        ) from error
    # who renames the file renames the model
    return card.replace(name=path.name.removesuffix(SUFFIX))
