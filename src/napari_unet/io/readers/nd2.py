"""Nikon ND2, through nd2: each position of the stage is an image."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from nd2 import ND2File

from napari_unet.core.text import reason
from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import FileImage, OnDisk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.io.readers.file_image import Read

_POSITION = "P"
_IN_A_FRAME = "CYXS"


def images(path: Path) -> list[FileImage]:
    """List the positions of a file.

    Raises
    ------
    ValueError
        Frames are missing.
    """
    with ND2File(path) as file:
        _check(file)
        frames = _Frames(file)
        sizes_um, dtype = _sizes_um(file), file.dtype
        sizes = dict(file.sizes)
    positions = sizes.pop(_POSITION, 1)
    axes, shape = "".join(sizes).lower(), tuple(sizes.values())
    outer = sum(axis not in _IN_A_FRAME for axis in sizes)
    return [
        FileImage(
            f"position {k + 1}" if positions > 1 else "",
            shape,
            dtype,
            partial(
                Pixels,
                OnDisk(shape, dtype, outer, partial(frames.opened, k)),
                axes,
                sizes_um,
            ),
        )
        for k in range(positions)
    ]


@dataclass(frozen=True, slots=True)
class _Frames:
    """Reads the frames of a file, which is only open meanwhile."""

    file: ND2File
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def opened(self, position: int) -> Iterator[Read]:
        """Open the file to read frames of a position."""
        loops = {a: n for a, n in self.file.sizes.items() if a not in _IN_A_FRAME}

        def read(at: tuple[int, ...], part: tuple[int | slice, ...]) -> Any:
            numbers = iter(at)
            where = [position if a == _POSITION else next(numbers) for a in loops]
            number = np.ravel_multi_index(where, tuple(loops.values())) if where else 0
            return self.file.read_frame(int(number))[part]

        with self.lock, self.file:
            yield read


def _check(file: ND2File) -> None:
    """Refuse frames that nd2 would return as black, or in another order of axes."""
    sizes = dict(file.sizes)
    wanted = prod(n for axis, n in sizes.items() if axis not in _IN_A_FRAME)
    if wanted != (told := prod(loop.count for loop in file.experiment)):
        raise ValueError(f"its {told} frames are not those of the axes {sizes}")
    lost = wanted - len(_whole_frames(file, wanted))
    if lost:
        raise ValueError(f"{lost} of the {wanted} frames that it tells of are missing")
    shape = tuple(n for axis, n in sizes.items() if axis in _IN_A_FRAME)
    if (found := file.read_frame(0).shape) != shape:
        raise ValueError(f"its frames have the shape {found}, it tells of {shape}")


def _whole_frames(file: ND2File, wanted: int) -> list[int]:
    """Return the frames that are in a file, if known."""
    # nd2 has no public function for this
    starts = getattr(file._rdr, "_frame_offsets", None)  # noqa: SLF001
    if starts is None:
        return list(range(wanted))
    size = 0
    if file.attributes.compressionType is None:
        size = (file.attributes.widthBytes or 0) * file.attributes.heightPx
    end = Path(file.path).stat().st_size - size
    return [k for k in range(wanted) if k in starts and starts[k] <= end]


def _sizes_um(file: ND2File) -> dict[str, float]:
    """Return the calibrated sizes; uncalibrated ones are one."""
    try:
        volume = file.metadata.channels[0].volume
        known = zip("xyz", volume.axesCalibration, volume.axesCalibrated, strict=True)
        return {axis: size for axis, size, is_known in known if is_known and size > 0}
    # unreadable metadata are no reason to refuse the pixels
    except Exception as error:
        logging.getLogger(__name__).debug("no pixel size: %s", reason(error))
        return {}
