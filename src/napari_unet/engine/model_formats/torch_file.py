"""Files of ``torch.save``: tensors and plain values, read without running anything."""

from __future__ import annotations

import warnings
import zipfile
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import ValidationError

from napari_unet.core.settings import explain
from napari_unet.core.text import reason, shown, times
from napari_unet.io.zips import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.core.network.geometry import Layered

# Of the part of a file that has the names of its tensors, in bytes.
_LARGEST_HEAD = 2**24


class _Unread:
    """In place of what a file holds beside tensors and plain values: numpy's numbers.

    They stand in records of a training, which are not needed here.
    """

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_UNREAD = [
    (_Unread, name)
    for name in (
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
    )
]


def holds(path: Path, names: Iterable[str]) -> bool:
    """Whether a file is one of ``torch.save`` that has tensors of all these names.

    Only texts are searched for, and nothing is unpickled.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found = [n for n in archive.namelist() if n.endswith("/data.pkl")]
                with archive.open(found[0]) as head:
                    text = head.read(_LARGEST_HEAD)
        else:
            # before torch 1.6 the same pickle lay in front of the tensors
            with path.open("rb") as file:
                text = file.read(_LARGEST_HEAD)
    except (OSError, IndexError, ValueError, *DAMAGED):
        return False
    return all(name.encode() in text for name in names)


def load(path: Path, content: bytes | None = None) -> dict[str, Any]:
    """Return the names and values of a file, or of one that it holds.

    Raises
    ------
    ValueError
        It is damaged or packed, or holds more than tensors and plain values.
    OSError
        It cannot be read.
    """
    import torch

    # whatever torch says of a file that can be opened, it is damaged
    with path.open("rb") if content is None else BytesIO(content) as file:
        _check_archive(path, file)
    given = path if content is None else BytesIO(content)
    try:
        with (
            torch.serialization.safe_globals(_UNREAD),  # type: ignore[arg-type]
            warnings.catch_warnings(),
        ):
            # of ways to pickle that torch does not use itself
            warnings.simplefilter("ignore")
            found = torch.load(given, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path}: is damaged, or holds more than tensors and plain values, and "
            "nothing of it is run here."
        ) from error
    if not isinstance(found, dict):
        raise ValueError(
            f"{path}: holds {type(found).__name__}, not the weights of a network."
        )
    return {str(name): value for name, value in found.items()}


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Have a ValueError about what a file describes say which file that is."""
    try:
        yield
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def shape_of(state: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Return the shape of a tensor; a ValueError says that there is none."""
    import torch

    found = state.get(name)
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"there is no tensor {name}, so that it is not complete.")
    special = found.is_nested, found.is_meta, found.is_quantized, found.is_complex()
    if any(special) or found.layout != torch.strided:
        raise ValueError(f"its tensor {name} does not hold plain numbers.")
    return tuple(found.shape)


def weights_of(
    table: Layered,
    names: Mapping[str, str],
    state: Mapping[str, Any],
    spare: tuple[str, ...] = (),
) -> dict[str, NDArray[np.generic]]:
    """Return the weights of a network by our names.

    `names` has the file's name of each of our layers, `spare` the beginnings of names
    of tensors that are not needed. A ValueError names a tensor that is missing, of
    another shape or left over: the network would be another one.
    """
    import torch

    from napari_unet.engine.network.layered import LayeredNetwork
    from napari_unet.engine.network.network import to_arrays

    with torch.device("meta"):
        wanted = LayeredNetwork(table).state_dict()
    found: dict[str, Tensor] = {}
    left = {name for name in state if not name.startswith(spare)}
    for name, like in wanted.items():
        layer, _, leaf = name.rpartition(".")
        source = f"{names[layer]}.{leaf}"
        shape = shape_of(state, source)
        if shape != tuple(like.shape):
            raise ValueError(
                f"its tensor {source} is of {times(shape)}, that of the network which "
                f"the rest describes of {times(tuple(like.shape))}."
            )
        if like.is_floating_point() and not state[source].is_floating_point():
            kind = str(state[source].dtype).removeprefix("torch.")
            raise ValueError(f"its tensor {source} holds {kind}, not real numbers.")
        found[name] = state[source].to(like.dtype)
        left.discard(source)
    if left:
        raise ValueError(
            f"it has {shown(min(left))}, which the network that it is read as has not."
        )
    _check_stored(found.values())
    return to_arrays(found)


def _check_stored(tensors: Collection[Tensor]) -> None:
    """Refuse tensors that claim more values than a file has, by sharing them."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    stored = sum({s.data_ptr(): s.nbytes() for s in storages}.values())
    if sum(t.numel() * t.element_size() for t in tensors) > stored:
        raise ValueError("its tensors claim more values than it holds.")


def _check_archive(path: Path, file: BinaryIO) -> None:
    """Refuse a damaged file, and a packed one: torch writes none, of any size inside.

    Files of before torch 1.6 are no archives and have no checksums.
    """
    try:
        if not zipfile.is_zipfile(file):
            return
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            packed = any(e.compress_type != zipfile.ZIP_STORED for e in entries)
            if packed or size > file.seek(0, SEEK_END):
                raise ValueError(f"{path}: is packed, and such files are not read.")
            wrong = archive.testzip()
    except DAMAGED as error:
        raise ValueError(f"{path}: is damaged ({reason(error)}).") from error
    if wrong is not None:
        raise ValueError(
            f"{path}: is damaged, the checksum of {shown(wrong)} is not that of what "
            "it holds."
        )
