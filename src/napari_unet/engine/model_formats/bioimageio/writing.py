"""Models of ours as bioimage.io packages of format 0.5, for other programs to run.

The network in them gives as many pixels as it takes (`plain_form`), so that programs
which know nothing of unpadded convolutions cut it into exact tiles. A padded network
takes windows of one size, of which they are to use the middle.
"""

from __future__ import annotations

import hashlib
import io
import keyword
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_unet import __version__
from napari_unet.engine.model_formats import plain_network
from napari_unet.engine.model_formats.bioimageio.grey_values import (
    in_package_words,
    measured_on_all,
)
from napari_unet.engine.model_formats.bioimageio.readme import (
    differences,
    readme,
    summary,
)
from napari_unet.engine.model_formats.exported_networks import (
    OPSET,
    onnx,
    torchscript,
)
from napari_unet.engine.model_formats.plain_form import (
    SameSize,
    check_exportable,
    plain_arguments,
)
from napari_unet.engine.model_formats.plain_form import plain_network as plain
from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.core.model import Model, ModelCard
    from napari_unet.core.publication import Publication

FORMAT = "0.5.12"
_PAPER = {
    "text": "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical "
    "Image Segmentation. MICCAI 2015.",
    "doi": "10.1007/978-3-319-24574-4_28",
}
_STATE, _CODE = "weights.pt", "network.py"
_SCRIPT, _ONNX = "weights_torchscript.pt", "weights.onnx"
_INPUT, _OUTPUT, _COVER = "test_input.npy", "test_output.npy", "cover.png"
# Pixels of the test image that are not border, along each axis.
_SEEN = {2: 64, 3: 16}


def write_package(
    model: Model, path: Path, publication: Publication
) -> tuple[str, ...]:
    """Write a zip, and say what other programs do otherwise.

    A ValueError says why the model cannot be in one.
    A ModuleNotFoundError says that a package is missing, an OSError that the zip cannot
    be written. Whichever it is, nothing half-written stays.
    """
    check_exportable(model.card)
    in_package_words(model.card.normalisation, _letters(model.card))
    files = package_files(model, publication)
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as package:
        for name, content in files.items():
            package.writestr(name, content)
    return differences(model.card)


def package_files(model: Model, publication: Publication) -> dict[str, bytes]:
    """Return all files of the package of a model, by their names."""
    import yaml

    card = model.card
    network, example = plain(model), _Example.of(card)
    seen = torch.from_numpy(example.seen)
    with torch.inference_mode():
        made = network(seen).numpy()
    files = {
        _STATE: _saved(network),
        _CODE: Path(plain_network.__file__).read_bytes(),
        _SCRIPT: torchscript(network, seen, card),
        _ONNX: onnx(network, seen, card),
        _INPUT: _npy(example.image),
        _OUTPUT: _npy(made),
        _COVER: _cover(card, example.image, made),
        "README.md": readme(card, publication).encode(),
    }
    text = yaml.dump(
        _description(card, publication, files),
        Dumper=_dumper(),
        sort_keys=False,
        allow_unicode=True,
    )
    return {"bioimageio.yaml": text.encode(), **files}


@dataclass(frozen=True, slots=True, eq=False)
class _Example:
    """An image to test a network with: blobs in noise, (1, channels, [z,] y, x)."""

    image: NDArray[np.float32]
    seen: NDArray[np.float32]  # the same in the grey values of the network

    @classmethod
    def of(cls, card: ModelCard) -> _Example:
        """Make one that has a size which the network takes, the same each time."""
        table, sizes = card.architecture, SameSize.of(card.architecture)
        shape = (table.channels, *sizes.covering(_SEEN[table.ndim]))
        rng = np.random.default_rng(0)
        axes = tuple(range(1, table.ndim + 1))
        smooth = gaussian_filter(rng.normal(size=shape), 4, axes=axes)
        blobs = gaussian_filter((smooth > smooth.std()).astype(float), 1, axes=axes)
        image = 40 + 160 * blobs + rng.normal(scale=4, size=shape)
        image = image.round().clip(0, 255)
        scale = measured_on_all(card.normalisation).scale(
            table.channels, lambda: [image.reshape(table.channels, -1)]
        )
        seen = scale.apply(image.reshape(table.channels, -1)).reshape(shape)
        return cls(image[None].astype(np.float32), seen[None].astype(np.float32))


def _description(
    card: ModelCard, publication: Publication, files: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return what the yaml says."""
    return {
        "format_version": FORMAT,
        "type": "model",
        "name": _title(card.name),
        "description": publication.description or summary(card),
        "authors": [{"name": name} for name in publication.authors],
        "cite": [_PAPER],
        "license": publication.licence,
        "documentation": _file("README.md", files),
        "covers": [_file(_COVER, files)],
        "tags": ["unet", f"{card.architecture.ndim}d", "pytorch", "napari-unet"],
        "inputs": [_input(card, files)],
        "outputs": [_output(card, files)],
        "weights": _weights(card, files),
        "config": {
            "napari_unet": {
                "version": __version__,
                "spacing_um": list(card.spacing_um) if card.spacing_um else None,
                "card": card.model_dump_json(),
            }
        },
    }


def _input(card: ModelCard, files: Mapping[str, bytes]) -> dict[str, Any]:
    table, sizes = card.architecture, SameSize.of(card.architecture)
    # no scale: some programs multiply sizes by it
    space = [
        {
            "type": "space",
            "id": letter,
            "concatenable": True,
            "size": {"min": least, "step": step} if step else least,
        }
        for letter, least, step in zip(
            _letters(card), sizes.smallest, sizes.step, strict=True
        )
    ]
    names = [f"channel_{number}" for number in range(1, table.channels + 1)]
    return {
        "id": "image",
        "description": "grey values of any range",
        "pad": {"mode": "reflect"},
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": names},
            *space,
        ],
        "data": {"type": "float32"},
        "test_tensor": _file(_INPUT, files),
        "preprocessing": in_package_words(card.normalisation, _letters(card)),
    }


def _output(card: ModelCard, files: Mapping[str, bytes]) -> dict[str, Any]:
    space, sizes = [], SameSize.of(card.architecture)
    for letter, border in zip(_letters(card), sizes.context, strict=True):
        axis: dict[str, Any] = {"type": "space", "id": letter}
        axis |= {"halo": border} if border else {}
        space.append({**axis, "size": {"tensor_id": "image", "axis_id": letter}})
    data: dict[str, Any] = {"type": "float32"}
    if card.outputs is None:
        data["range"] = [0.0, 1.0]
    names = {"type": "channel", "channel_names": _identifiers(card)}
    return {
        "id": "made" if card.outputs else "probabilities",
        "description": summary(card),
        "axes": [{"type": "batch"}, names, *space],
        "data": data,
        "test_tensor": _file(_OUTPUT, files),
        "postprocessing": [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}],
    }


def _weights(card: ModelCard, files: Mapping[str, bytes]) -> dict[str, Any]:
    version = torch.__version__.partition("+")[0]
    child = {"parent": "pytorch_state_dict"}
    code = {"callable": "Network", "kwargs": plain_arguments(card)}
    return {
        "pytorch_state_dict": {
            **_file(_STATE, files),
            "pytorch_version": version,
            "architecture": {**_file(_CODE, files), **code},
        },
        "torchscript": {**_file(_SCRIPT, files), "pytorch_version": version, **child},
        "onnx": {**_file(_ONNX, files), "opset_version": OPSET, **child},
    }


def _title(name: str) -> str:
    """Return a name of the characters that the format allows, and as many."""
    plain_name = re.sub(r"[^A-Za-z0-9_+\- ()]", " ", name).strip()
    return (plain_name if len(plain_name) >= 5 else f"{plain_name} model".strip())[:128]


def _identifiers(card: ModelCard) -> list[str]:
    """Return names of the channels that come out, each an identifier of its own."""
    names = ["background", *(c.name for c in card.classes)]
    if card.outputs is not None:
        names = [f"channel_{k}" for k in range(1, card.architecture.classes + 1)]
    found: list[str] = []
    for name in names:
        word = re.sub(r"\W", "_", name)
        if not word.isidentifier() or keyword.iskeyword(word):
            word = f"class_{word}"
        found.append(word if word not in found else f"{word}_{len(found)}")
    return found


def _letters(card: ModelCard) -> str:
    return "zyx"[3 - card.architecture.ndim :]


def _file(name: str, files: Mapping[str, bytes]) -> dict[str, str]:
    return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}


def _saved(network: torch.nn.Module) -> bytes:
    with io.BytesIO() as buffer:
        torch.save(network.state_dict(), buffer)
        return buffer.getvalue()


def _npy(array: NDArray[np.float32]) -> bytes:
    with io.BytesIO() as buffer:
        np.save(buffer, array)
        return buffer.getvalue()


def _cover(
    card: ModelCard, image: NDArray[np.float32], made: NDArray[np.float32]
) -> bytes:
    """Return a picture, twice as wide as high: the image and the result."""
    import imagecodecs

    border = SameSize.of(card.architecture).context
    inner = tuple(slice(b, -b or None) for b in border)
    result = made[0, 0] if card.outputs else 1 - made[0, 0]
    panels = []
    for panel in (image[0, 0][inner], result[inner]):
        plane = panel[len(panel) // 2] if panel.ndim == 3 else panel
        side = min(plane.shape)
        plane = plane[:side, :side]
        low, high = float(plane.min()), float(plane.max())
        panels.append(255 * (plane - low) / ((high - low) or 1))
    picture = np.concatenate(panels, axis=1).round().astype(np.uint8)
    return bytes(imagecodecs.png_encode(picture))


def _dumper() -> Any:
    """Return what writes a yaml without references, which not all programs read."""
    import yaml

    class Plain(yaml.SafeDumper):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return Plain
