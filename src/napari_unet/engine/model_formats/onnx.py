"""ONNX files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.engine.model_formats.single_files import (
    CARD,
    checked,
    content_of,
    with_its_card,
)
from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.model import Model

# The first field of the protocol buffer, the version of its format.
_START = b"\x08"


def recognises(path: Path) -> bool:
    """Whether a file begins as an ONNX does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) == _START


def read(path: Path) -> Model:
    """Read an ONNX that says what it needs, as those written here do."""
    from napari_unet.engine.network.opaque import onnx_session

    content = content_of(path)
    try:
        found = onnx_session(content).get_modelmeta().custom_metadata_map
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    model = with_its_card(path, content, found.get(CARD, ""), "onnx")
    return checked(path, model)


def write(model: Model, path: Path) -> tuple[str, ...]:
    """Write an ONNX with its card."""
    from napari_unet.engine.model_formats.exported_networks import onnx
    from napari_unet.engine.model_formats.plain_form import (
        export_form,
        what_it_takes,
    )

    content = onnx(*export_form(model), model.card)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return (what_it_takes(model.card),)
