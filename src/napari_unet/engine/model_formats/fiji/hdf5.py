"""Values in HDF5, however a program stores them: alone or in arrays, any text."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from pydantic import ValidationError

from napari_unet.core.settings import explain
from napari_unet.core.text import reason
from napari_unet.io.readers.hdf5 import check_inside, check_links

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The texts of real models have some ten thousand bytes.
_LONGEST = 2**22


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file; whatever is wrong in it becomes a sentence."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {reason(error)}.") from error


def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return a dataset of the file itself; None if there is none."""
    check_links(file, name.strip("/"))
    if name not in file:
        return None
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        return None
    check_inside(file, found)
    return found


def _values(file: h5py.File, name: str) -> list[Any]:
    """Return the few values of a dataset, one or an array of them."""
    found = dataset(file, name)
    if found is None:
        return []
    if found.nbytes > _LONGEST:
        raise ValueError(f"{name} claims {found.nbytes} bytes")
    values: list[Any] = np.ravel(found[()]).tolist()
    return values


def numbers(file: h5py.File, name: str) -> tuple[float, ...]:
    """Return the numbers of a dataset; none if it is missing.

    A ValueError says that it holds others.
    """
    try:
        return tuple(map(float, _values(file, name)))
    except (TypeError, ValueError):
        raise ValueError(f"{name} holds no numbers") from None


def texts(file: h5py.File, name: str) -> tuple[str, ...]:
    """Return the texts of a dataset; none if it is missing."""
    values = _values(file, name)
    return tuple(
        (v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)).rstrip("\0")
        for v in values
    )


def text(file: h5py.File, name: str) -> str:
    """Return the first text of a dataset; an empty one if it is missing."""
    return "".join(texts(file, name)[:1])


def put_text(file: h5py.File, where: str, value: str) -> None:
    """Write a text as the plugin's library does: of fixed length, filled up with 0."""
    content = value.encode("utf-8", "replace") or b"\0"
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
