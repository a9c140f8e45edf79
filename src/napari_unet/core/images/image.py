"""An image with named axes, read block by block whatever holds its pixels.

This is the only place that knows the order of axis letters. Everything else sees
*fields*: one plane (for a 2-D network) or one volume (for a 3-D network) of an image,
always as (channel, [z,] y, x).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_unet.core.geometry.boxes import Box, field_index
from napari_unet.core.text import printable, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.images.normalisation import Frame, GreyScale

AXES = "tczyx"
BY_NDIM = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}
"""Axes of arrays that have no names for them, by their number."""
LARGEST = 1e36
"""Largest grey value that is taken: sums of larger ones are no float32 any more, and
programs write them where they know no value."""


class ArrayLike(Protocol):
    """What an array must offer to be read block by block (numpy, dask, zarr)."""

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        ...

    @property
    def dtype(self) -> np.dtype[Any]:  # noqa: D102
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Where an image was read from."""

    path: str  # absolute; with "#2" behind it the second image in a file
    axes: str | None = None  # those given for it, if its own were overruled


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Pixels with named axes."""

    data: ArrayLike  # numpy, dask or zarr; only the blocks asked for are read
    axes: str  # a letter for each axis of `data`, in its order; y and x are required
    # Pixel size along the spatial axes ([z,] y, x) in micrometres, None if one of them
    # is unknown. Only y and x may be given for a stack: see `yx_um`.
    spacing_um: tuple[float, ...] | None = None
    name: str = "image"  # shown to people and used for file names
    # what was chosen, guessed or left out in reading it, each a sentence
    notes: tuple[str, ...] = ()
    # pixel size along y and x in micrometres, also where that along z is unknown
    yx_um: tuple[float, ...] | None = None
    grey: bool = False  # the file has the one channel three times, as colours
    file: ImageFile | None = None
    # grey values of frames that are not all here, by time point and slice (or None)
    scales: Mapping[Frame, GreyScale] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_axes(self.axes, self.data.shape, printable(self.name))
        spatial = len(self.spatial_axes)
        known = self.known_um
        if known is not None and (
            len(known) not in {2, spatial} or not all(s > 0 for s in known)
        ):
            name = printable(self.name)
            raise ValueError(
                f"{name}: the pixel size needs {spatial} positive values "
                f"({', '.join(self.spatial_axes)}), found {known}."
            )
        # A tuple without z would look like all there is to know of a stack.
        complete = known is not None and len(known) == spatial
        object.__setattr__(self, "spacing_um", known if complete else None)
        object.__setattr__(self, "yx_um", None if known is None else known[-2:])

    @classmethod
    def from_array(cls, data: ArrayLike, axes: str | None = None, **rest: Any) -> Image:
        """Name the axes of a bare array: yx, zyx, czyx or tczyx unless given."""
        if axes is None:
            if len(data.shape) not in BY_NDIM:
                raise ValueError(
                    f"an image has 2 to 5 axes, found an array of shape {data.shape}."
                )
            axes = BY_NDIM[len(data.shape)]
        return cls(data, axes, **rest)

    @property
    def spatial_axes(self) -> str:
        """The axes z (if there), y, x in this order."""
        return "".join(a for a in "zyx" if a in self.axes)

    @property
    def label_axes(self) -> str:
        """The axes of labels of the image: t, z, y, x in this order, if it has them."""
        return "".join(a for a in "tzyx" if a in self.axes)

    @property
    def known_um(self) -> tuple[float, ...] | None:
        """Pixel size in micrometres along ([z,] y, x), or along y and x if z's is not.

        What is handed on with pixels: an `Image` made with it knows the same.
        """
        return self.spacing_um if self.spacing_um is not None else self.yx_um

    @property
    def um_by_axis(self) -> dict[str, float]:
        """Pixel size in micrometres by axis, of those along which it is known."""
        known = self.known_um or ()
        letters = self.spatial_axes[-len(known) :] if known else ""
        return dict(zip(letters, map(float, known), strict=True))

    def pixel_size(self, ndim: int) -> tuple[float, ...] | None:
        """Return the pixel size in micrometres along [z,] y, x of a plane or volume.

        None if one of them is unknown.
        """
        known = (self.known_um or ())[-ndim:]
        return known if len(known) == ndim else None

    def size(self, axis: str) -> int:
        """Length of an axis, 1 where the image does not have it."""
        return self.data.shape[self.axes.index(axis)] if axis in self.axes else 1

    def read(self, index: Any = ...) -> NDArray[Any]:
        """Read all pixels, or those of an index into the array.

        A ValueError or OSError says that a part on disk is damaged or cannot be read.
        """
        if isinstance(self.data, np.ndarray):
            return np.asarray(self.data[index])
        name = printable(self.name)
        try:
            return np.asarray(self.data[index])
        except MemoryError:
            raise
        except OSError as error:
            raise OSError(
                f"{name}: a part of it cannot be read, {error.strerror or error}."
            ) from error
        # A damaged chunk raises whatever its decoder stumbles over.
        except Exception as error:
            raise ValueError(
                f"{name}: a part of it is damaged and cannot be read: {reason(error)}."
            ) from error

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.size("c")

    @property
    def channel_planes(self) -> int:
        """Number of planes of a slice: channels, or one of pixels with colours."""
        return 1 if self.axes.endswith("c") else self.channels

    def with_channels(self, channels: int) -> Image:
        """Return grey as the three colours it is stored as, if these are wanted."""
        if not self.grey or (self.channels, channels) != (1, 3):
            return self
        data = self.read()
        colours = np.broadcast_to(data[..., np.newaxis], (*data.shape, 3))
        return replace(self, data=colours, axes=self.axes + "c", grey=False)

    def channel(self, number: int) -> Image:
        """Return one of the channels, from 1, as an image without the axis c.

        ValueError if there is none of this number.
        """
        if not 1 <= number <= self.channels:
            raise ValueError(
                f"{printable(self.name)}: there is no channel {number}, the image has "
                f"1 to {self.channels}."
            )
        if "c" not in self.axes:
            return self
        axis = self.axes.index("c")
        data = _OneChannel(self.data, axis, number - 1)
        return replace(self, data=data, axes=self.axes.replace("c", ""))

    def field_shape(self, ndim: int) -> tuple[int, ...]:
        """Shape in pixels of one field for a network of `ndim` spatial axes."""
        return tuple(self.size(a) for a in "zyx"[3 - ndim :])

    def field_spacing(self, ndim: int) -> tuple[float, ...]:
        """Pixel size of a field relative to its finest axis, 1 where unknown."""
        known = (self.known_um or ())[-ndim:]
        if not known:
            return (1.0,) * ndim
        lengths = (0.0,) * (ndim - len(known)) + known
        finest = min(length for length in lengths if length > 0)
        return tuple(length / finest if length > 0 else 1.0 for length in lengths)

    def fields(self, ndim: int) -> Iterator[Field]:
        """Yield the planes (`ndim` 2) or volumes (`ndim` 3), time outermost."""
        for t in range(self.size("t")):
            if ndim == 3:
                yield Field(self, t, None)
            else:
                for z in range(self.size("z")):
                    yield Field(self, t, z)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One plane or one volume of an image: what a network sees as a whole."""

    image: Image
    t: int = 0
    z: int | None = 0  # slice of a plane; None for a volume

    @property
    def ndim(self) -> int:
        """2 for a plane, 3 for a volume."""
        return 3 if self.z is None else 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Size in pixels, ([z,] y, x)."""
        return self.image.field_shape(self.ndim)

    def read(self, box: Box | None = None) -> NDArray[Any]:
        """Read a box of the field, or all of it: an array (channels, [z,] y, x).

        A ValueError or OSError says that a part on disk is damaged or cannot be read.
        """
        index = self.index(box)
        block = self.image.read(index)
        named = zip(self.image.axes, index, strict=True)
        left = [axis for axis, part in named if isinstance(part, slice)]
        order = [a for a in "czyx" if a in left]
        block = block.transpose([left.index(a) for a in order])
        if self.z is None and "z" not in order:
            block = np.expand_dims(block, order.index("y"))
        return block if "c" in order else block[np.newaxis]

    def index(self, box: Box | None = None) -> tuple[int | slice, ...]:
        """Return where a box of the field, with all channels, is in the array."""
        return field_index(self.image.axes, self.t, self.z, box)


def channels_of(images: Iterable[Image]) -> int:
    """Return the number of channels of images; a ValueError if it is not the same."""
    names = {image.channels: image.name for image in images}
    if len(names) > 1:
        found = (f"{count} ({printable(names[count])})" for count in sorted(names))
        raise ValueError(
            f"the images must have one number of channels, found {' and '.join(found)}."
        )
    return next(iter(names))


def within_reach(values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which values a network can take: numbers up to `LARGEST`."""
    # in half precision that would be infinite, as are values then; NaN is not below it
    most = min(LARGEST, float(np.finfo(values.dtype).max))
    reach: NDArray[np.bool_] = np.abs(values) <= most
    return reach


def whole_key(key: Any, ndim: int) -> tuple[Any, ...]:
    """Name every axis in an index, as numpy does for an ellipsis or a short one."""
    given = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, k in enumerate(given) if k is Ellipsis), len(given))
    rest = given[at + 1 :]
    return (*given[:at], *[slice(None)] * (ndim - at - len(rest)), *rest)


class _OneChannel:
    """An array at one place of an axis, read block by block."""

    def __init__(self, array: ArrayLike, axis: int, place: int) -> None:
        self._array, self._axis, self._place = array, axis, place
        self.shape = (*array.shape[:axis], *array.shape[axis + 1 :])
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = [*whole_key(key, len(self.shape))]
        keys.insert(self._axis, self._place)
        return np.asarray(self._array[tuple(keys)])


def _check_axes(axes: str, shape: tuple[int, ...], name: str) -> None:
    if (
        len(set(axes)) != len(axes)
        or set(axes) - set(AXES)
        or not {"y", "x"} <= set(axes)
    ):
        raise ValueError(
            f"{name}: axes must be y and x with any of t, c, z, each once; "
            f"found {axes!r}."
        )
    if len(axes) != len(shape):
        raise ValueError(
            f"{name}: axes {axes!r} name {len(axes)} axes, the array has shape {shape}."
        )
    if 0 in shape:
        raise ValueError(f"{name}: the image is empty, its shape is {shape}.")
