"""TorchScript files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.engine.model_formats.single_files import (
    card_in_script,
    checked,
    content_of,
    is_torchscript,
    with_its_card,
)
from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.model import Model


def recognises(path: Path) -> bool:
    """Whether a file is a TorchScript."""
    return is_torchscript(path)


def read(path: Path) -> Model:
    """Read a TorchScript that says what it needs, as those written here do."""
    content = content_of(path)
    text = card_in_script(path, content)
    return checked(path, with_its_card(path, content, text, "torchscript"))


def write(model: Model, path: Path) -> tuple[str, ...]:
    """Write a TorchScript with its card."""
    from napari_unet.engine.model_formats.exported_networks import torchscript
    from napari_unet.engine.model_formats.plain_form import (
        export_form,
        what_it_takes,
    )

    content = torchscript(*export_form(model), model.card)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return (what_it_takes(model.card),)
