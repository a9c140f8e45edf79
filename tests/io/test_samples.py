from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.io import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.images.image import Image


def test_nuclei_are_eight_wells_with_a_label_for_each_nucleus() -> None:
    pairs = samples.nuclei()
    wells = {image.name.split("_")[1] for image, _ in pairs}
    assert len(pairs) == len(wells) == 8
    for image, labels in pairs:
        assert image.name == labels.name
        assert image.axes == labels.axes == "yx"
        assert image.data.shape == labels.data.shape == (520, 696)
        assert image.data.dtype == np.uint16
        assert 100 <= len(np.unique(np.asarray(labels.data))) - 1 <= 180
        # Nuclei are bright: a label image of another file would not tell them apart.
        cells = np.asarray(labels.data) > 0
        pixels = np.asarray(image.data)
        assert pixels[cells].mean() > 2 * pixels[~cells].mean()


def test_the_phase_contrast_image_has_66_cells() -> None:
    [(image, labels)] = samples.phase_contrast()
    assert image.data.shape == labels.data.shape == (1022, 1024)
    assert len(np.unique(np.asarray(labels.data))) - 1 == 66
    assert image.spacing_um is None


@pytest.mark.parametrize(
    ("pairs", "axes", "shape", "nuclei"),
    [
        (samples.histology, "yxc", (256, 320, 3), 59),
        (samples.smear, "yx", (1024, 1024), 95),
    ],
)
def test_tissue_and_smear_have_nuclei_darker_than_the_rest(
    pairs: Callable[[], list[tuple[Image, Image]]],
    axes: str,
    shape: tuple[int, ...],
    nuclei: int,
) -> None:
    [(image, labels)] = pairs()
    assert (image.axes, image.data.shape) == (axes, shape)
    assert labels.data.shape == shape[:2]
    truth = np.asarray(labels.data)
    assert len(np.unique(truth)) - 1 == nuclei
    pixels = np.asarray(image.data)
    assert pixels[truth > 0].mean() < pixels[truth == 0].mean() - 20


def test_the_samples_are_small_and_credited() -> None:
    root = samples.folder("nuclei").parent
    assert sum(file.stat().st_size for file in root.rglob("*")) <= 6_000_000
    text = (root / "CREDITS.md").read_text(encoding="utf-8")
    for words in ("BBBC039v1", "CC0 1.0", "MIT License", "Copyright (c) 2018 Okinawa"):
        assert words in text


def test_an_unknown_sample_is_told() -> None:
    kinds = "nuclei, histology, smear, phase_contrast"
    with pytest.raises(ValueError, match=f"{kinds}, found 'hela'"):
        samples.folder("hela")
