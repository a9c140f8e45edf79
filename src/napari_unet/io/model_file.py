"""The model file: safetensors with a JSON header. Loading it never runs code.

A checkpoint is the same file with the state that training needs to continue, so each
checkpoint can be used as a model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import file_digest
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import psutil
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.opaque import FILE
from napari_unet.core.settings import explain
from napari_unet.core.text import shown
from napari_unet.core.training.training_settings import MOST_MEMBERS
from napari_unet.io.atomic import atomic
from napari_unet.io.records import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT = "napari-unet model"
# The newest version that is read; the oldest that can represent a model is written.
VERSION = 2
SUFFIX = ".safetensors"
CHECKPOINT_SUFFIX = f".checkpoint{SUFFIX}"

_WEIGHTS, _STATE = "weights/", "state/"
# Names of safetensors; a state has counters and flags of any type.
_KINDS = {
    _WEIGHTS: ("F32", "I64"),
    # the content of a file that runs as it is
    _WEIGHTS + FILE: ("U8",),
    _STATE: ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL"),
}
# A hundred thousand rows of history take half of it.
_LARGEST_CARD = 2**24


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A model in training, with all that is needed to continue."""

    model: Model  # usable for prediction
    tensors: Mapping[str, NDArray[np.generic]]  # its state; empty in a finished model
    progress: str = "{}"  # JSON values that belong to it


def sha256_of(model: Path) -> str:
    """Return the SHA-256 of a file, which says whether it is the same model."""
    with model.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def models_in(folder: Path) -> list[Path]:
    """Return the model files of a folder, by name; checkpoints are left out."""
    return sorted(
        path
        for path in folder.glob(f"*{SUFFIX}")
        if path.is_file() and not path.name.endswith(CHECKPOINT_SUFFIX)
    )


def checkpoint_of(model: Path) -> Path:
    """Return where the checkpoints of a run that ends with this model file are."""
    return model.with_name(model.name.removesuffix(SUFFIX) + CHECKPOINT_SUFFIX)


def member_file(checkpoint: Path, number: int) -> Path:
    """Return the file of a finished network until all are finished."""
    stem = checkpoint.name.removesuffix(CHECKPOINT_SUFFIX)
    return checkpoint.with_name(f"{stem}.network{number + 1}{CHECKPOINT_SUFFIX}")


def remove_members(checkpoint: Path) -> None:
    """Remove the finished networks of a model that is saved, or restarted."""
    for number in range(MOST_MEMBERS):
        member_file(checkpoint, number).unlink(missing_ok=True)


def save_model(model: Model, path: str | Path) -> None:
    """Write a model file; an existing one is replaced when the new one is complete.

    Raises
    ------
    OSError
        If the file cannot be written, with the reason; nothing is left behind.
    ValueError
        If a weight is not finite; nothing is written.
    """
    save_checkpoint(Checkpoint(model, {}), path)


def load_model(path: str | Path) -> Model:
    """Read a model file, or the model in a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, not a model file, or of a newer format, or a weight is not
        finite.
    MemoryError
        If its tensors take more memory than there is.
    """
    return _read(Path(path), with_state=False).model


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint; as `save_model`."""
    path, model = Path(path), checkpoint.model
    check_finite(model.weights, path)
    parts = {_WEIGHTS: model.weights, _STATE: checkpoint.tensors}
    arrays = {
        part + name: np.asarray(tensor, order="C")
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }
    card = model.card.model_dump_json()
    header = {
        "format": FORMAT,
        "version": str(model.card.format),
        "card": card,
        "progress": checkpoint.progress,
        "checksums": json.dumps(
            {
                "card": _checksum_of_text(card),
                "progress": _checksum_of_text(checkpoint.progress),
                **{part: _checksum(arrays, part) for part in parts},
            }
        ),
    }
    # as bytes: the library's own file writing hides the reason of an error
    content = _in_order(save(arrays, metadata=header))
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.writelines(content)


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


def may_be_model(path: Path) -> bool:
    """Whether a file begins like a model file, whatever its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        # behind the length of the header, a number of 64 bits
        return file.read(9)[8:] == b"{"


def check_replaceable(path: Path) -> None:
    """Refuse to overwrite anything but a model.

    Raises
    ------
    FileExistsError
        Something other than a model is there; an empty file may be replaced.
    """
    if path.is_file() and path.stat().st_size == 0:
        return
    try:
        read_card(path)
    except FileNotFoundError:
        return
    except (ValueError, OSError) as error:
        raise FileExistsError(
            f"{path}: is there already and is no model that this napari-unet reads, "
            "so it is not replaced; name another file."
        ) from error


def check_memory(path: Path, values: int) -> None:
    """Refuse tensors that are too large, before memory is allocated for them.

    Raises
    ------
    MemoryError
        They do not fit.
    """
    # at most eight bytes a value, and numpy, torch and the checks hold them once each
    needed, free = 2 * 4 * values, psutil.virtual_memory().available
    if needed > free:
        raise MemoryError(
            f"{path}: its weights need {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free."
        )


def check_finite(weights: Mapping[str, NDArray[np.generic]], path: Path) -> None:
    """Refuse weights that no network can compute with.

    Raises
    ------
    ValueError
        One is not finite, or a variance negative: its root would be none.
    """
    for name, weight in weights.items():
        values = np.asarray(weight)
        if name.endswith(".running_var") and (values < 0).any():
            raise ValueError(
                f"{path}: is no usable model, the variances {shown(name)} hold values "
                "below 0."
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(
                f"{path}: is no usable model, the weights {shown(name)} hold values "
                "that are not finite numbers."
            )


def _in_order(content: bytes) -> tuple[bytes, bytes, memoryview]:
    """Return the tensors and header in a fixed order: equal models are equal files.

    The library writes the entries of the header in a random order.
    """
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little"), text, memoryview(content)[begin:]


def _read(path: Path, *, with_state: bool) -> Checkpoint:
    with _opened(path) as file:
        header = file.metadata() or {}
        card = _card(header, path)
        sums = _checksums(header, path)
        parts = (_WEIGHTS, _STATE) if with_state else (_WEIGHTS,)
        names = [n for n in file.keys() if n.startswith(parts)]  # noqa: SIM118
        slices = [file.get_slice(name) for name in names]
        # bytes of a file that runs as it is are a quarter of a number
        sizes = [4 if s.get_dtype() == "U8" else 1 for s in slices]
        values = sum(
            prod(s.get_shape()) // n for s, n in zip(slices, sizes, strict=True)
        )
        check_memory(path, values)
        arrays = {name: _tensor(file, name, path) for name in names}
    for part in parts:
        _compare(sums.get(part), _checksum(arrays, part), path)
    progress = header.get("progress", "{}")
    if with_state:
        _compare(sums.get("progress"), _checksum_of_text(progress), path)
        parse(progress, f"{path}: the state of its training")
    weights, state = (
        {n.removeprefix(p): a for n, a in arrays.items() if n.startswith(p)}
        for p in (_WEIGHTS, _STATE)
    )
    check_finite(weights, path)
    return Checkpoint(Model(card, weights), state, progress)


def _tensor(file: Any, name: str, path: Path) -> NDArray[np.generic]:
    kind = str(file.get_slice(name).get_dtype())
    part = _WEIGHTS if name.startswith(_WEIGHTS) else _STATE
    allowed = _KINDS.get(name, _KINDS[part])
    if kind not in allowed:
        raise ValueError(
            f"{path} is damaged: the tensor {shown(name)} holds {kind}, "
            f"allowed are {', '.join(allowed)}."
        )
    tensor: NDArray[np.generic] = file.get_tensor(name)
    return tensor


def _checksum(arrays: Mapping[str, NDArray[np.generic]], part: str) -> int:
    """Return a checksum of names, types, shapes and values of some tensors."""
    found = 0
    for name in sorted(name for name in arrays if name.startswith(part)):
        array = np.ascontiguousarray(arrays[name])
        found = crc32(f"{name} {array.dtype.str} {array.shape}".encode(), found)
        found = crc32(array.reshape(-1).view(np.uint8).data, found)
    return found


def _checksum_of_text(text: str) -> int:
    return crc32(text.encode("utf-8", "surrogatepass"))


def _checksums(header: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return the checksums of a file; none if it was written before there were any."""
    found = parse(header.get("checksums", "{}"), f"{path}: its list of checksums")
    return found if isinstance(found, dict) else {}


def _compare(expected: Any, found: int, path: Path) -> None:
    if expected is not None and expected != found:
        raise ValueError(
            f"{path} is damaged: its content is not what was written "
            f"(checksum {found}, expected {shown(expected)})."
        )


def _opened(path: Path) -> safe_open:
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {path}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a model file.")
    if not path.is_file():
        raise ValueError(f"{path} is no file that could be a model.")
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a napari-unet model, or is damaged or incomplete "
            f"({shown(error)})."
        ) from error


def _card(header: Mapping[str, str], path: Path) -> ModelCard:
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a safetensors file, but not a napari-unet model: "
            f"its format is {shown(repr(header.get('format')))}, expected {FORMAT!r}."
        )
    version = header.get("version", "")
    if version not in map(str, range(1, VERSION + 1)):
        raise ValueError(
            f"{path} has model format {shown(version)}, this napari-unet reads formats "
            f"up to {VERSION}; install a newer napari-unet."
        )
    text = header.get("card", "")
    if len(text) > _LARGEST_CARD:
        raise ValueError(
            f"{path} has a damaged model card: it has {len(text)} characters, "
            f"allowed are {_LARGEST_CARD}."
        )
    checksum = _checksums(header, path).get("card")
    try:
        card = ModelCard.model_validate(parse(text, "its text"))
        # a network that accepts no image is found here
        _ = card.architecture.min_output
    except ValueError as error:
        raise _unreadable(
            path, error, intact=checksum == _checksum_of_text(text)
        ) from error
    _compare(checksum, _checksum_of_text(text), path)
    # renaming the file renames the model
    return card.replace(name=path.name.removesuffix(SUFFIX))


def _unreadable(path: Path, error: ValueError, *, intact: bool) -> ValueError:
    """Return why a card cannot be read; an intact one has something unknown."""
    if not isinstance(error, ValidationError):
        return ValueError(f"{path} has a damaged model card: {error}")
    why = explain(error)
    if not intact:
        return ValueError(f"{path} has a damaged model card: {why}")
    return ValueError(
        f"{path} says what this napari-unet does not know ({why.rstrip('.')}); install "
        "a newer napari-unet."
    )
