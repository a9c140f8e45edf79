from __future__ import annotations

from typing import Any

import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.model import ImageRecord, ModelCard
from napari_unet.core.training.resumption import changes, is_another_recipe
from napari_unet.core.training.training_settings import Augmentation, Training

BEFORE = (
    "it goes on from a checkpoint, and what it learns from is not the same as before: "
)


def image(name: str, pixels: str = "", annotated: int = 10) -> ImageRecord:
    return ImageRecord(name=name, sha256=pixels or name, annotated=annotated)


def card(**changed: Any) -> ModelCard:
    settings = Training.quick().replace(**changed.pop("settings", {}))
    usual: dict[str, Any] = {
        "architecture": settings.architecture(1, 2, 1),
        "classes": (ClassInfo(name="cells"),),
        "images": (image("a"), image("b")),
    }
    return ModelCard(training=settings, **(usual | changed))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        (
            {"settings": {"learning_rate": 0.5, "mix_pixel_sizes": True}},
            "settings: learning-rate 0.5 (before 0.003), mix-pixel-sizes yes (before "
            "no).",
        ),
        (
            {"settings": {"minutes": 7.0, "by_hand": ("batch",), "preset": "x"}},
            "settings: minutes 7 (before 5).",
        ),
        (
            {"settings": {"augmentation": Augmentation(blur=2)}},
            "settings: augmentation-blur 2 (before 0.8).",
        ),
        (
            {"images": (image("a", "other"), image("c"))},
            "images with other pixels: a; new images: c; images no longer given: b.",
        ),
        # its file has another name, and there is more of it
        (
            {"images": (image("x/a", "a"), image("b", annotated=12))},
            "images with other annotation: b.",
        ),
        ({"images": (image("a"), image("b"), image("b"))}, "new images: b."),
        (
            {"classes": (ClassInfo(name="nuclei", kind="regions"),)},
            "classes: nuclei as regions (before cells).",
        ),
        ({"spacing_um": (0.5, 0.5)}, "pixel size: 0.5 × 0.5 µm (before none)."),
    ],
)
def test_what_has_changed_since_a_checkpoint_is_told(
    changed: dict[str, Any], told: str
) -> None:
    found = changes(card(), card(**changed), annotation=False)
    assert found == ((BEFORE + told,) if told else ())


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ("ab", "the annotation."),
        ("ba", "the order of the images, or their annotation."),
        ("a", "images no longer given: b."),
    ],
)
def test_so_are_strokes_that_are_as_many_as_before(images: str, told: str) -> None:
    now = card(images=tuple(map(image, images)))
    assert changes(card(), now, annotation=True) == (BEFORE + told,)


def test_more_time_is_no_other_recipe() -> None:
    usual = Training.quick()
    assert not is_another_recipe(usual, usual.replace(minutes=9.0))
    assert not is_another_recipe(usual, usual.replace(minutes=0.0, steps=9))
    assert is_another_recipe(usual, usual.replace(batch=9))
