"""The weights of Caffe's networks in HDF5: a group for each layer, by its name.

Blob 0 holds its kernels, blob 1 its biases: float32, in the order of axes that torch
has, too.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import h5py
import numpy as np

from napari_unet.core.text import shown, times
from napari_unet.engine.model_formats.fiji.hdf5 import dataset
from napari_unet.io.model_file import check_memory
from napari_unet.io.readers.hdf5 import check_links

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.network.architecture import Architecture
    from napari_unet.engine.model_formats.fiji.writing_net import Written


class Blobs:
    """The weights in the second file, by the names of their layers."""

    def __init__(self, file: h5py.File) -> None:
        check_links(file, "data")
        group = file.get("data")
        if not isinstance(group, h5py.Group):
            raise ValueError("it holds no weights")
        self._file = file
        # some programs write the one for the other
        self._names = {name.replace("-", "_"): name for name in group}

    def channels(self, layer: str) -> int:
        """Return how many a layer reads."""
        shape = self._blob(layer, 0).shape
        return int(shape[1]) if len(shape) > 1 else 0

    def weights(
        self,
        architecture: Architecture,
        names: Iterable[tuple[str, bool]],
        path: Path,
    ) -> dict[str, NDArray[np.generic]]:
        """Return those of all layers, as a network of ours has them.

        The names are those of its layers in their order, and whether they have a bias.
        A MemoryError says that they do not fit.
        """
        net = architecture.drawing
        layers = [n for n in net.layers if n.op in ("conv", "up_conv")]
        shapes: dict[str, tuple[str, int, tuple[int, ...]]] = {}
        found: dict[str, NDArray[np.generic]] = {}
        for ours, (theirs, has_bias) in zip(layers, names, strict=True):
            width, before = ours.width, net.width(ours.inputs[0])
            sides = (width, before) if ours.op == "conv" else (before, width)
            shapes[f"{ours.name}.weight"] = theirs, 0, (*sides, *ours.kernel)
            if has_bias:
                shapes[f"{ours.name}.bias"] = theirs, 1, (width,)
            else:
                found[f"{ours.name}.bias"] = np.zeros(width, np.float32)
        check_memory(path, sum(prod(shape) for *_, shape in shapes.values()))
        return found | {name: self._array(*where) for name, where in shapes.items()}

    def _array(
        self, layer: str, number: int, shape: tuple[int, ...]
    ) -> NDArray[np.generic]:
        blob = self._blob(layer, number)
        # of Caffe's first versions a bias has four axes
        alike = blob.shape == shape or (number == 1 and blob.size == prod(shape))
        if not alike or blob.dtype.kind != "f":
            raise ValueError(
                f"the weights of {shown(layer)} are {times(blob.shape)} of "
                f"{blob.dtype}, the network has {times(shape)} numbers there"
            )
        found: NDArray[np.generic] = np.asarray(blob[()], np.float32).reshape(shape)
        return found

    def _blob(self, layer: str, number: int) -> h5py.Dataset:
        blob = dataset(self._file, f"{self._group(layer).name}/{number}")
        if blob is None:
            raise ValueError(f"the weights of {shown(layer)} are missing")
        return blob

    def _group(self, layer: str) -> h5py.Group:
        name = self._names.get(layer.replace("-", "_"))
        if name is None:
            raise ValueError(f"the weights of {shown(layer)} are missing")
        check_links(self._file, f"data/{name}")
        group = self._file["data"][name]
        if not isinstance(group, h5py.Group):
            raise ValueError(f"the weights of {shown(layer)} are damaged")
        return group


def put_weights(
    file: h5py.File, net: Written, weights: Mapping[str, NDArray[np.generic]]
) -> None:
    """Write a group for each layer, as Caffe does, with its weights and its bias."""
    data = file.create_group("data")
    for name, ours in net.layers:
        group = data.create_group(name)
        if ours is not None:
            kernel = weights[f"{ours.name}.weight"]
            if last := net.turned.get(ours.name):
                kernel = np.roll(kernel, last, axis=1)
            none = np.zeros(ours.width, np.float32)
            bias = weights.get(f"{ours.name}.bias", none)
            group["0"], group["1"] = kernel, bias
