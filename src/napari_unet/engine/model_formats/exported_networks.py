"""TorchScript and ONNX out, each one file that says what it needs.

Both carry a model card of a network that runs as it is (`core.network.opaque`), and so
come back without a word from anybody.
"""

from __future__ import annotations

import io
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.network.blended import geometry_of
from napari_unet.core.network.opaque import Opaque
from napari_unet.core.text import lacking
from napari_unet.engine.model_formats.plain_form import SameSize
from napari_unet.engine.model_formats.single_files import CARD

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.core.model import ModelCard
    from napari_unet.core.network.opaque import Runtime
    from napari_unet.engine.model_formats.plain_network import Network

OPSET = 17
"""Of ONNX: what the programs around know, and the exporter that traces."""
_NAMES = "image", "result"
# Of metadata, and of key and value in them, in the protocol buffer of an ONNX.
_METADATA, _KEY, _VALUE = 14, 1, 2


def opaque_card(card: ModelCard, runtime: Runtime) -> ModelCard:
    """Return the card of a model as a network of the same size that runs as it is."""
    table, sizes = card.architecture, SameSize.of(card.architecture)
    outputs = card.outputs
    if outputs is not None:
        count = len(outputs.mean)
        outputs = ImageOutputs(mean=(0.0,) * count, sd=(1.0,) * count)
    network = Opaque(
        channels=table.channels,
        classes=table.classes,
        runtime=runtime,
        smallest=sizes.smallest,
        growth=sizes.step,
        lost=(0,) * table.ndim,
        border=sizes.border,
        window=getattr(geometry_of(table), "window", None),
        mean_of=table.mean_of,
    )
    return card.replace(architecture=network, outputs=outputs, members=1)


def torchscript(network: Network, example: Tensor, card: ModelCard) -> bytes:
    """Return a plain network as a TorchScript with its card; `example` is one input."""
    with warnings.catch_warnings(), io.BytesIO() as buffer:
        # torch would rather have another form, which the programs around do not read
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, example, check_trace=False)
        text = opaque_card(card, "torchscript").model_dump_json()
        torch.jit.save(traced, buffer, _extra_files={CARD: text})
        return buffer.getvalue()


def onnx(network: Network, example: Tensor, card: ModelCard) -> bytes:
    """Return a plain network as an ONNX with its card.

    A ModuleNotFoundError says that a package is missing.
    """
    if find_spec("onnx") is None:
        raise lacking("to write an ONNX needs", "onnx", "models")
    varying = {0: "batch", **{axis: f"n{axis}" for axis in range(2, example.ndim)}}
    with warnings.catch_warnings(), io.BytesIO() as buffer:
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=_NAMES[:1],
            output_names=_NAMES[1:],
            dynamic_axes=dict.fromkeys(_NAMES, varying),
        )
        text = opaque_card(card, "onnx").model_dump_json()
        return buffer.getvalue() + _metadata(CARD, text)


def _metadata(key: str, value: str) -> bytes:
    """Return an entry of metadata as it stands at the end of an ONNX."""
    entry = _text(_KEY, key.encode()) + _text(_VALUE, value.encode())
    return _text(_METADATA, entry)


def _text(field: int, content: bytes) -> bytes:
    """Return a field of bytes as protocol buffers have it: number, length, content."""
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 128:
        found.append(number % 128 + 128)
        number //= 128
    return bytes([*found, number])
