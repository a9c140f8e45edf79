"""Pixels as a file holds them, and how they become an image with named axes.

Formats disagree about axes: some name them, some leave letters of their own, and most
keep axes of length one. Each reader reports what it found; the decision is made here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.image import AXES, Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.core.image import ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """What a reader found in a file.

    Attributes
    ----------
    data : array-like
        In memory (numpy) or read on demand (memory map, zarr).
    axes : str
        A lower-case letter for each axis: t, c, z, y, x, s for colour samples, and
        any other letter for an axis that the file does not explain.
    sizes_um : mapping of str to float
        Pixel size in micrometres of the spatial axes the file tells it of.
    """

    data: ArrayLike
    axes: str
    sizes_um: Mapping[str, float] = field(default_factory=dict)

    def image(self, name: str, axes: str | None = None) -> Image:
        """Name the axes and drop those of length one, except y and x.

        Parameters
        ----------
        name : str
            The image's name, also in errors.
        axes : str, optional
            Overrules the file; for all its axes, or for those longer than one.

        Raises
        ------
        ValueError
            The axes cannot be told, or `axes` does not fit, or the pixels are not
            numbers.
        """
        if self.data.dtype.kind not in "buif":
            raise ValueError(
                f"{name}: pixels must be integers or real numbers, "
                f"found {self.data.dtype}."
            )
        shape = self.data.shape
        letters = self._letters(name) if axes is None else self._given(axes, name)
        keep = [i for i, a in enumerate(letters) if a in "yx" or shape[i] != 1]
        named = "".join(letters[i] for i in keep)
        spatial = [a for a in "zyx" if a in named]
        # Half a pixel size would be taken for the ratio of the axes.
        known = all(a in self.sizes_um for a in spatial)
        spacing = tuple(self.sizes_um[a] for a in spatial) if known else None
        return Image(_narrow(self.data, keep), named, spacing, name)

    def _letters(self, name: str) -> str:
        """Take s as channels and one unknown axis as z; "-" marks a dropped one."""
        shape = self.data.shape
        letters = ["-" if shape[i] == 1 else a for i, a in enumerate(self.axes)]
        for i, a in enumerate(self.axes):
            if a in "yx":
                letters[i] = a
        # Colours beside real channels clash here, and are asked for below.
        letters = ["c" if a == "s" else a for a in letters]
        unknown = [i for i, a in enumerate(letters) if a not in AXES and a != "-"]
        if len(unknown) == 1 and "z" not in letters:
            letters[unknown.pop()] = "z"
        found = [a for a in letters if a != "-"]
        if unknown or len(set(found)) != len(found) or not {"y", "x"} <= set(found):
            raise ValueError(
                f"{name}: the file does not tell what the axes of its shape {shape} "
                f"are (found {self.axes!r}); name them, as in axes='czyx'."
            )
        return "".join(letters)

    def _given(self, axes: str, name: str) -> str:
        shape = self.data.shape
        if len(axes) == len(shape):
            return axes
        if len(axes) != sum(length != 1 for length in shape):
            raise ValueError(
                f"{name}: axes {axes!r} name {len(axes)} axes, "
                f"the file has the shape {shape}."
            )
        letters = iter(axes)
        return "".join("-" if length == 1 else next(letters) for length in shape)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Some axes of an array on disk, at index 0 of the others, in native byte order.

    Attributes
    ----------
    data : array-like
        Read only where indexed.
    keep : tuple of int
        The axes that are seen, in order; the others have length one.
    """

    data: ArrayLike
    keep: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis that is seen."""
        return tuple(self.data.shape[i] for i in self.keep)

    @property
    def ndim(self) -> int:
        """Number of axes that are seen."""
        return len(self.keep)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that indexing returns."""
        return _native(self.data.dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        given = list(key) if isinstance(key, tuple) else [key]
        # An ellipsis, or the end of a short key, stands for whole axes.
        at = next((i for i, k in enumerate(given) if k is Ellipsis), len(given))
        rest = given[at + 1 :]
        middle = [slice(None)] * (self.ndim - at - len(rest))
        wanted = dict(zip(self.keep, given[:at] + middle + rest, strict=True))
        index = tuple(wanted.get(i, 0) for i in range(len(self.data.shape)))
        return np.asarray(self.data[index]).astype(self.dtype, copy=False)

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=bool(copy))


def _narrow(data: ArrayLike, keep: list[int]) -> ArrayLike:
    """Drop axes and foreign byte order, in memory at once, on disk when read."""
    native = _native(data.dtype)
    if isinstance(data, np.ndarray):
        narrow = data.reshape([data.shape[i] for i in keep])
        # Changing the bytes of a memory map would load all of it.
        if not isinstance(data, np.memmap):
            return narrow.astype(native, copy=False)
        if native == data.dtype:
            return narrow
    if len(keep) == len(data.shape) and native == data.dtype:
        return data
    return View(data, tuple(keep))


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # torch and numba know neither foreign byte order nor, as pixels, booleans.
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
