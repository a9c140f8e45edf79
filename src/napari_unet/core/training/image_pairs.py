"""Examples of images and target images, or of images alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.images.alignment import find_shift
from napari_unet.core.images.image import Image
from napari_unet.core.images.image_outputs import ImageOutputs, unclipped
from napari_unet.core.images.normalisation import check_finite
from napari_unet.core.text import counted, listed, times
from napari_unet.core.training.training_set import Example, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import ArrayLike, Field
    from napari_unet.core.images.normalisation import GreyScale

# Largest shift between an image and its target, in pixels.
_LARGEST_SHIFT = 2
# Side of the central part in which the shift is measured, in pixels.
_COMPARED = 1024


def paired_fields(
    images: Sequence[Image | ArrayLike], targets: Sequence[Image | ArrayLike], ndim: int
) -> list[tuple[Field, Field]]:
    """Pair the planes (`ndim` 2) or volumes (3) of images with those of their targets.

    A ValueError says that there is not one target for each image, or that they differ
    in size, or the targets in their number of channels.
    """
    if not images or len(images) != len(targets):
        raise ValueError(
            "each image needs its target, found "
            f"{counted(len(images), 'image')} and {counted(len(targets), 'target')}."
        )
    pairs: list[tuple[Field, Field]] = []
    channels: dict[int, str] = {}
    problems = []
    for raw, wanted in zip(images, targets, strict=True):
        image, target = (
            x if isinstance(x, Image) else Image.from_array(x) for x in (raw, wanted)
        )
        sizes = [[i.size(a) for a in "tzyx"] for i in (image, target)]
        if sizes[0] != sizes[1]:
            problems.append(
                f"{image.name} and its target {target.name} must have equal sizes "
                f"along t, z, y, x, found {times(sizes[0])} and {times(sizes[1])}."
            )
            continue
        channels.setdefault(target.channels, target.name)
        pairs += zip(image.fields(ndim), target.fields(ndim), strict=True)
    if problems:
        raise ValueError(listed(problems, most=5, between=" "))
    if len(channels) > 1:
        found = " and ".join(f"{n} ({channels[n]})" for n in sorted(channels))
        raise ValueError(
            f"all targets must have the same number of channels, found {found}."
        )
    return pairs


def image_example(field: Field, target: Field | None, scale: GreyScale) -> Example:
    """Return an example of an image and its target; with None the image is the target.

    `scale` is that of the image, and of the target until `with_scale` gives it that of
    all. Pixels of the target that are NaN or infinite are ignored. A ValueError says
    that the image is not finite.
    """
    if field.image.data.dtype.kind == "f":
        check_finite(field.image, field.read())
    known = np.broadcast_to(np.uint8(0), field.shape)
    if target is not None and target.image.data.dtype.kind == "f":
        finite = np.isfinite(target.read()).all(axis=0)
        known = np.where(finite, 0, IGNORED).astype(np.uint8)
    return Example(
        field,
        scale,
        known,
        np.broadcast_to(np.float32(0), field.shape),
        Target(target or field, unclipped(scale.mean, scale.sd)),
    )


def target_statistics(examples: Iterable[Example]) -> ImageOutputs:
    """Return mean and deviation of each channel of all targets together.

    Statistics of each image would remove the differences in brightness between images.
    A ValueError says that no value is finite, or that a channel is constant.
    """
    counts, sums, squares = 0, np.zeros(1), np.zeros(1)
    # relative to one of the values: large offsets would cost precision
    origin: NDArray[np.float64] | None = None
    for values in filter(np.size, map(_known_values, examples)):
        if origin is None:
            origin = values[:, :1]
        counts += values.shape[1]
        sums = sums + (values - origin).sum(axis=1)
        squares = squares + np.square(values - origin).sum(axis=1)
    if origin is None:
        raise ValueError("the targets hold no number to learn.")
    mean = sums / counts
    sd = np.sqrt(np.maximum(squares / counts - mean**2, 0))
    mean = mean + origin[:, 0]
    for number, (m, s) in enumerate(zip(mean, sd, strict=True), start=1):
        if s <= 1e-6 * max(abs(m), 1e-30):
            raise ValueError(
                f"channel {number} of the targets is {m:g} everywhere: there is "
                "nothing to learn."
            )
    return ImageOutputs(mean=tuple(mean.tolist()), sd=tuple(sd.tolist()))


def with_scale(example: Example, outputs: ImageOutputs) -> Example:
    """Return the example with targets on the scale of all."""
    scale = unclipped(outputs.mean, outputs.sd)
    return replace(example, target=replace(example.wanted, scale=scale))


def check_alignment(pairs: Iterable[tuple[Field, Field]]) -> tuple[str, ...]:
    """Compare each image with its target; return warnings, each a sentence.

    A ValueError says that one is shifted by more than 2 pixels against the other: a
    network would learn to blur or to shift. Of several planes, and of a
    volume, the middle one is compared; what cannot be compared passes.
    """
    by_image: dict[int, list[tuple[Field, Field]]] = {}
    for pair in pairs:
        by_image.setdefault(id(pair[0].image), []).append(pair)
    doubtful: dict[str, str] = {}
    for each in by_image.values():
        field, target = each[len(each) // 2]
        name, other = field.image.name, target.image.name
        shift = find_shift(_middle(field), _middle(target))
        if shift is None or shift == (0, 0):
            continue
        words = f"{other} is shifted against {name} by {_words(shift)}"
        if max(map(abs, shift)) > _LARGEST_SHIFT:
            raise ValueError(
                f"{words}; the two must lie on one grid, to {_LARGEST_SHIFT} pixels: "
                "register them first."
            )
        doubtful.setdefault(name, f"{words}: what is learnt may be blurred.")
    return tuple(doubtful.values())


def _words(shift: tuple[int, int]) -> str:
    parts = [
        f"{counted(abs(n), 'pixel')} {there if n > 0 else back}"
        for n, there, back in zip(shift, ("down", "right"), ("up", "left"), strict=True)
        if n
    ]
    return " and ".join(parts)


def _known_values(example: Example) -> NDArray[np.float64]:
    """Return the known values of a target, (channels, pixels)."""
    values = example.wanted.field.read()
    found: NDArray[np.float64] = values[:, example.classes != IGNORED].astype(float)
    return found


def _middle(field: Field) -> NDArray[np.float64]:
    """Return the middle of a plane, or of the middle slice; the mean of its channels.

    Values that are not finite become 0.
    """
    box: Box = tuple(
        slice((n - min(n, _COMPARED)) // 2, (n + min(n, _COMPARED)) // 2)
        for n in field.shape[-2:]
    )
    if field.ndim == 3:
        z = field.shape[0] // 2
        box = (slice(z, z + 1), *box)
    values = np.nan_to_num(field.read(box).astype(float), posinf=0.0, neginf=0.0)
    plane: NDArray[np.float64] = values.mean(axis=0).reshape(values.shape[-2:])
    return plane
