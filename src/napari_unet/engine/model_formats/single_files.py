"""TorchScript and ONNX files alone: those that say what they need."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZipFile

import numpy as np

from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.opaque import FILE, TITLES, Opaque
from napari_unet.core.settings import validated
from napari_unet.io.model_file import check_memory
from napari_unet.io.records import parse
from napari_unet.io.zips import DAMAGED

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.network.opaque import Runtime

CARD = "napari_unet.json"
"""Name of the card among the extra files of a TorchScript, and as a key in an ONNX."""
_LARGEST_CARD = 2**24


def opaque_model(card: ModelCard, content: bytes) -> Model:
    """Return a model of a network that runs as it is, from the bytes of its file."""
    return Model(card, {FILE: np.frombuffer(content, np.uint8)})


def content_of(path: Path) -> bytes:
    """Return what is in a file; a MemoryError if the memory would not bear it."""
    check_memory(path, path.stat().st_size // 4)
    return path.read_bytes()


def checked(path: Path, model: Model) -> Model:
    """Return a model if its file can be run; a ValueError says why it cannot."""
    from napari_unet.engine.network.network import prepare

    prepare(model, "cpu", file=path)
    return model


def with_its_card(path: Path, content: bytes, text: str, runtime: Runtime) -> Model:
    """Return the model that a file holds by the card in it; a ValueError if it is none.

    `text` is that of the card; empty if there is none.
    """
    if not text:
        raise ValueError(
            f"{path}: {TITLES[runtime]} that does not say what it needs: which "
            "sizes, border, grey values and classes; put a bioimageio.yaml beside it "
            "that does, and give that."
        )
    what = f"{path}: the card in it"
    if len(text) > _LARGEST_CARD:
        raise ValueError(f"{what} is too long.")
    card = validated(ModelCard, parse(text, what), f"{what} is damaged")
    if (
        not isinstance(card.architecture, Opaque)
        or card.architecture.runtime != runtime
    ):
        raise ValueError(f"{what} is that of another network.")
    return opaque_model(card.replace(name=path.stem), content)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a zip of code and constants, as a TorchScript is."""
    try:
        with ZipFile(path) as file:
            names = file.namelist()
    except (OSError, *DAMAGED):
        return False
    ends = {name.partition("/")[2] for name in names}
    return "constants.pkl" in ends and any(end.startswith("code/") for end in ends)


def card_in_script(path: Path, content: bytes) -> str:
    """Return the card in a TorchScript; empty if there is none."""
    try:
        with ZipFile(BytesIO(content)) as file:
            for part in file.infolist():
                if part.filename.endswith(f"/extra/{CARD}"):
                    if part.file_size > _LARGEST_CARD:
                        raise ValueError(f"{path}: the card in it is too long.")
                    return file.read(part)[:_LARGEST_CARD].decode()
    except DAMAGED as error:
        raise ValueError(f"{path}: is damaged.") from error
    return ""
