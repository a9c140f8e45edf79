"""What is different for a training that goes on from a checkpoint.

Images, annotation and settings may change on purpose. It is told, as the model has then
learnt from both.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from napari_unet.core.settings import Settings
from napari_unet.core.text import listed, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.model import ImageRecord, ModelCard
    from napari_unet.core.training.training_settings import Training

# How settings came about, not what they are.
_OF_CHOICE = {"preset", "by_hand", "decisions"}
# How long it goes on: of the steps before, a log has what they took of it.
_BUDGET = {"steps", "minutes"}
# Settings, and images of a kind, that the sentence names.
_NAMED = 6


def changed_settings(before: Training, now: Training) -> list[str]:
    """Return the settings that are others now, each with both values."""
    return [
        f"{name} {_written(new)} (before {_written(old)})"
        for name, old, new in _changed(before, now)
    ]


def is_another_recipe(before: Training, now: Training) -> bool:
    """Whether the steps to come differ from those before in more than their number."""
    return any(name not in _BUDGET for name, _, _ in _changed(before, now))


def changes(
    before: ModelCard, now: ModelCard, *, annotation: bool | None
) -> tuple[str, ...]:
    """Say in a sentence what is different from a checkpoint's card; none if nothing is.

    `annotation` is whether all that is annotated is different, with the images in their
    order; None if that is not known.
    """
    parts = [
        ("settings", changed_settings(before.training, now.training)),
        *_changed_images(before.images, now.images),
    ]
    found = [f"{what}: {listed(rows, _NAMED)}" for what, rows in parts if rows]
    if before.classes != now.classes:
        old, new = (", ".join(map(_class, card.classes)) for card in (before, now))
        found.append(f"classes: {new} (before {old})")
    if before.outputs != now.outputs:
        found.append("the images to be made")
    if before.spacing_um != now.spacing_um:
        old, new = (_size(card.spacing_um) for card in (before, now))
        found.append(f"pixel size: {new} (before {old})")
    if annotation and _keys(before.images) == _keys(now.images):
        found.append("the annotation")
    elif annotation and sorted(_keys(before.images)) == sorted(_keys(now.images)):
        found.append("the order of the images, or their annotation")
    if not found:
        return ()
    return (
        "it goes on from a checkpoint, and what it learns from is not the same as "
        f"before: {'; '.join(found)}.",
    )


def _changed(
    before: Settings, now: Settings, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, old and new value of each setting that changed."""
    for name, old in before:
        new = getattr(now, name)
        if old == new or name in _OF_CHOICE:
            continue
        if isinstance(old, Settings):
            yield from _changed(old, new, f"{prefix}{name}-")
        else:
            yield f"{prefix}{name}".replace("_", "-"), old, new


def _changed_images(
    before: Iterable[ImageRecord], now: Iterable[ImageRecord]
) -> Iterator[tuple[str, list[str]]]:
    """Yield the names of images that are new, gone or changed, and of what is known."""
    old, new = tuple(before), tuple(now)
    lost = _without(old, new)
    come = _without(new, old)
    both = [name for name in come if name in lost]
    yield "images with other pixels", both
    yield "new images", [name for name in come if name not in both]
    yield "images no longer given", [name for name in lost if name not in both]
    known = {record.sha256: record.annotated for record in old}
    yield (
        "images with other annotation",
        [
            printable(record.name)
            for record in new
            if known.get(record.sha256, record.annotated) != record.annotated
        ],
    )


def _without(images: Iterable[ImageRecord], others: Iterable[ImageRecord]) -> list[str]:
    """Return the names of images whose pixels are not those of others."""
    left = Counter(_keys(others))
    names = []
    for record in images:
        left[record.sha256] -= 1
        if left[record.sha256] < 0:
            names.append(printable(record.name))
    return names


def _keys(images: Iterable[ImageRecord]) -> list[str]:
    return [record.sha256 for record in images]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else printable(value)


def _class(info: ClassInfo) -> str:
    return printable(info.name) + (" as regions" if info.kind == "regions" else "")


def _size(spacing_um: tuple[float, ...] | None) -> str:
    if spacing_um is None:
        return "none"
    return " × ".join(f"{side:g}" for side in spacing_um) + " µm"
