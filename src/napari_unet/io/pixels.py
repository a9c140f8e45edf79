"""Pixels as stored in a file, and how they become an image with named axes.

Formats treat axes differently: some name them, some use their own letters, and most
keep axes of length one. Each reader reports what it found; the axes are decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.images.image import AXES, Image, whole_key
from napari_unet.core.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.images.image import ArrayLike


_NAMED = 4  # images of a file that a sentence lists

# Axes of which a file says nothing: tifffile's of pages and of anything, and unknown.
_UNEXPLAINED = "iq?"


class SeveralImagesError(ValueError):
    """A file has several images, and none was chosen.

    `titles` are those of the images, where they can be named by ``#1`` and so on.
    """

    def __init__(self, sentence: str, titles: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.titles = tuple(titles)


def chosen(
    images: Sequence[tuple[str, tuple[int, ...], Any]], number: int | None, name: str
) -> int:
    """Return the index, from 0, of the image of a number, from 1.

    `images` has the title, shape and dtype of each, `name` is the file's.

    Raises
    ------
    SeveralImagesError
        There is no image of the number, or several and none is named.
    """
    if number is None and len(images) == 1:
        return 0
    if number is not None and 1 <= number <= len(images):
        return number - 1
    each = [
        f"#{k}{f' {printable(title)!r}' if title else ''} "
        f"({' × '.join(map(str, shape))}, {dtype})"
        for k, (title, shape, dtype) in enumerate(images[:_NAMED], start=1)
    ]
    if len(images) > _NAMED:
        each.append("…")
    listed = f"it holds {counted(len(images), 'image')}: {', '.join(each)}"
    if number is not None:
        raise SeveralImagesError(f"there is no image #{number} in it, {listed}")
    name = printable(name)
    raise SeveralImagesError(
        f"{listed}; name one, as in {name}#2, or all with {name}#*",
        [title for title, _, _ in images],
    )


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
        Pixel size in micrometres of the spatial axes the file has one for.
    notes : tuple of str
        Choices and omissions of the reader, each a sentence.
    alpha : int
        How many of the last samples are transparency.
    guess : str
        Why the samples may not be colours, a sentence; empty if they are.
    palette : ndarray of uint8, or uint16 of greys, shape (n, 3), or None
        The colours that the values stand for.
    step : int
        Values were multiplied by it to fill a byte; labels are the stored values.
    foreign : str
        Name of a colour space that is not converted; empty for others.
    grey : bool
        Three equal colours became one channel.
    altered : bool
        Values were compressed as JPEG does, so they cannot be those of labels.
    labels : Pixels or None
        What is read of labels, where their numbers are not those that are shown.
    """

    data: ArrayLike
    axes: str
    sizes_um: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    alpha: int = 0
    guess: str = ""
    palette: NDArray[np.integer] | None = None
    step: int = 1
    foreign: str = ""
    grey: bool = False
    altered: bool = False
    labels: Pixels | None = None

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.data.shape):
            axes = counted(len(self.axes), "axis", "axes")
            raise ValueError(
                f"its description names {axes}, its pixels have the shape "
                f"{self.data.shape}"
            )

    def image(
        self, name: str, axes: str | None = None, *, labels: bool = False
    ) -> Image:
        """Name the axes and drop those of length one, except y and x.

        Without `axes`, transparency is left out, three equal colours are one channel,
        and a palette is shown in its colours. With them, every value is kept.

        They overrule the file; for all its axes, for those longer than one, or for all
        but the colours. Of labels with a palette of colours the numbers are read.

        Raises
        ------
        ValueError
            The axes are unclear, or `axes` does not fit, or the pixels are not
            numbers, or in colours that are not converted.
        """
        shown = printable(name)
        if self.data.dtype.kind not in "buif":
            raise ValueError(
                f"{shown}: pixels must be integers or real numbers, "
                f"found {self.data.dtype}."
            )
        if self.foreign and axes is None:
            raise ValueError(
                f"{shown}: its colours are {self.foreign}; images are read in grey or "
                "RGB: convert it, or name the axes to read the values as they are."
            )
        if labels and self.labels is not None:
            return self.labels.image(name, axes, labels=True)
        if self.palette is not None:
            found = self._shown(axes, shown, labels=labels)
            return found.image(name, axes, labels=labels)
        if labels and self.step > 1:
            stored = np.asarray(self.data) // self.step
            return replace(self, data=stored, step=1).image(name, axes, labels=True)
        if axes is None or (
            "s" in self.axes and len(axes) == self._longer(self.axes.replace("s", ""))
        ):
            found = self._coloured()
            if axes is not None and "s" in found.axes:
                axes = _with_c(axes, found)
            return found.named(name, axes)
        return self.named(name, axes)

    def named(self, name: str, axes: str | None) -> Image:
        """Name the axes of the values as they are; otherwise as `image`."""
        shape = self.data.shape
        shown = printable(name)
        letters = self._letters(shown) if axes is None else self._given(axes, shown)
        keep = [i for i, a in enumerate(letters) if a in "yx" or shape[i] != 1]
        named = "".join(letters[i] for i in keep)
        spatial = [a for a in "zyx" if a in named]
        # Without y and x, the size along z would be taken for the ratio of the axes.
        known = tuple(self.sizes_um[a] for a in spatial if a in self.sizes_um)
        spacing = known if {"y", "x"} <= set(self.sizes_um) else None
        notes = self.notes
        for letter, own, n in zip(letters, self.axes, shape, strict=True):
            if axes is None and letter == "z" and own not in f"z{_UNEXPLAINED}":
                notes += (
                    f"an axis of {n} that the file calls {own.upper()} is read as "
                    "slices; name the axes (--axes) if it has times or channels.",
                )
        if spacing is not None and len(spacing) < len(spatial):
            notes += ("its pixel size along z is unknown.",)
        data = _narrow(self.data, keep)
        return Image(data, named, spacing, name, notes, grey=self.grey)

    def _longer(self, axes: str) -> int:
        """Count the axes out of these that are longer than one."""
        sizes = zip(self.axes, self.data.shape, strict=True)
        return sum(n != 1 for a, n in sizes if a in axes)

    def _shown(self, axes: str | None, name: str, *, labels: bool) -> Pixels:
        """Return values with a palette as a viewer shows them."""
        palette = np.asarray(self.palette)
        numbers = np.asarray(self.data[...])
        if numbers.size and int(numbers.max()) >= len(palette):
            raise ValueError(
                f"{name}: it has values up to {numbers.max()} and a palette of "
                f"{len(palette)} colours."
            )
        grey = bool((palette == palette[:, :1]).all())
        used = np.unique(numbers)
        if labels and len(np.unique(palette[used, 0])) < len(used):
            grey = False  # labels of one grey, such as all in white, are several
        named = axes is not None and len(axes) == self._longer(self.axes)
        if grey:
            data, letters, note = palette[numbers, 0], self.axes, ""
        elif labels or named:
            data, letters = numbers, self.axes
            note = "it has a palette: the numbers of the colours are read"
            if labels:
                data, note = _black_is_zero(numbers, palette, used, note)
        else:
            data, letters = palette[numbers], self.axes + "s"
            note = "it has a palette: the colours are read that it shows"
        notes = (*self.notes, note + ".") if note else self.notes
        return replace(self, data=data, axes=letters, palette=None, step=1, notes=notes)

    def _coloured(self) -> Pixels:
        """Leave transparency out, and make one channel of three equal colours."""
        if "s" not in self.axes:
            return self
        at = self.axes.index("s")
        count = self.data.shape[at]
        notes = self.notes
        data = self.data
        if self.alpha:
            data = data[_samples(self.axes, slice(0, count - self.alpha))]
            notes += (
                "its transparency (alpha) is left out; name the axes (--axes yxc) if "
                "it is a channel.",
            )
        if self.guess:
            notes += (self.guess,)
        left = count - self.alpha
        grey = left == 3 and not self.guess and _is_grey(data, self.axes)
        if grey:
            data = data[_samples(self.axes, slice(0, 1))]
            notes += ("its three colours are equal: read as one grey channel.",)
        return replace(self, data=data, notes=notes, alpha=0, guess="", grey=grey)

    def _letters(self, name: str) -> str:
        """Take s as channels and one unknown axis as z; "-" marks a dropped one."""
        shape = self.data.shape
        letters = ["-" if shape[i] == 1 else a for i, a in enumerate(self.axes)]
        for i, a in enumerate(self.axes):
            if a in "yx":
                letters[i] = a
        # Colours besides real channels clash here, and are asked for below.
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
class ArrayView:
    """Some axes of an array on disk, in native byte order; read only where indexed.

    `keep` has the axes that are seen, in order; the others have length one, and are at
    index 0.
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
        wanted = dict(zip(self.keep, whole_key(key, self.ndim), strict=True))
        index = tuple(wanted.get(i, 0) for i in range(len(self.data.shape)))
        return np.asarray(self.data[index]).astype(self.dtype, copy=False)

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=bool(copy))


def _with_c(axes: str, pixels: Pixels) -> str:
    """Put the colours into axes that were named without them."""
    letters = iter(axes)
    sizes = zip(pixels.axes, pixels.data.shape, strict=True)
    return "".join("c" if a == "s" else next(letters) for a, n in sizes if n != 1)


def _samples(axes: str, chosen: slice) -> tuple[slice, ...]:
    return tuple(chosen if a == "s" else slice(None) for a in axes)


def _is_grey(data: ArrayLike, axes: str) -> bool:
    """Whether the samples of each pixel are equal; a blank picture does not count."""
    first = np.asarray(data[_samples(axes, slice(0, 1))])
    return bool(np.ptp(first)) and all(
        np.array_equal(first, np.asarray(data[_samples(axes, slice(k, k + 1))]))
        for k in range(1, data.shape[axes.index("s")])
    )


def _black_is_zero(
    numbers: NDArray[Any],
    palette: NDArray[np.integer],
    used: NDArray[np.integer],
    note: str,
) -> tuple[NDArray[Any], str]:
    """Make black 0, as in labels, where it is one of the indices used, and another."""
    black = used[palette[used].max(axis=1) == 0]
    if 0 in black or len(black) != 1:
        return numbers, note
    at = int(black[0])
    changed = np.arange(len(palette), dtype=numbers.dtype)
    changed[[0, at]] = changed[[at, 0]]
    return changed[numbers], f"{note}, with 0 and {at} exchanged: {at} is black"


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
    return ArrayView(data, tuple(keep))


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # torch and numba do not support foreign byte order, nor booleans as pixels.
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
