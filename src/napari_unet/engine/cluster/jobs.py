"""Jobs for the workers of a cluster: frozen records that are sent with each step.

They hold paths, which all machines have to see, and no pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.engine.model_formats.catalogue import format_of, read_model, stamp_of
from napari_unet.io.model_file import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_unet.core.model import Model
    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.engine.inference.block_sizes import BlockSizes


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model, by its file and a hash of what it is."""

    path: Path
    stamp: str
    foreign: bool = False  # of another program: the hash is not that of the file


def source_of(path: Path) -> tuple[Model, ModelSource]:
    """Read a model of any format; errors are those of `catalogue.read_model`."""
    model = read_model(path)
    foreign = format_of(path) is not None
    stamp = stamp_of(model) if foreign else sha256_of(path)
    return model, ModelSource(path.absolute(), stamp, foreign)


@dataclass(frozen=True, slots=True)
class ImageJob:
    """One large image, of which a worker does some steps."""

    image: Path
    axes: str | None
    channel: int | None
    model: ModelSource
    settings: Prediction
    segmentation: Segmentation
    targets: Mapping[str, Path]
    cells: bool
    sizes: BlockSizes
    folder: Path  # of the resumable output
    run: str  # its run, see there
    threads: int = 0  # of the CPU for the network; 0: as it is
    tile: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class FilesJob:
    """Images that fit into memory, each of which is done by one worker."""

    model: ModelSource
    settings: Prediction
    segmentation: Segmentation
    folder: Path
    kinds: tuple[str, ...]
    ways_out: str
    sizes: BlockSizes
    in_memory: int
    axes: str | None
    channel: int | None
    overwrite: bool
    claim: Path  # a file that is there for as long as the run goes on
    threads: int = 0
