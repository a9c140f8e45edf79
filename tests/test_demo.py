from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.cli.demo import check_folder, choose_images
from napari_unet.cli.main import main
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.model_file import load_model

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_learns_from_three_images_and_tests_on_five_of_other_wells() -> None:
    learnt, tested = choose_images()
    assert (len(learnt), len(tested)) == (3, 5)
    wells = [{p.stem.split("_")[1] for p in part} for part in (learnt, tested)]
    assert not wells[0] & wells[1]
    assert choose_images() == (learnt, tested)


def test_the_demo_writes_model_images_metrics_and_overview(tmp_path: Path) -> None:
    assert main(["demo", "--output", str(tmp_path), "--steps", "25"]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["ap50"] > 0.4
    assert metrics["iou"] > 0.7
    assert metrics["seconds"] > 0
    assert load_model(tmp_path / "nuclei.safetensors").card.steps == 25
    for name in metrics["predicted"]:
        found = read_image(tmp_path / "probabilities" / name)
        assert (found.axes, found.data.dtype) == ("cyx", np.float32)
        assert read_labels(tmp_path / "instances" / name).data.max() > 50
    assert (tmp_path / "overview.png").read_bytes()[:4] == b"\x89PNG"
    check_folder(tmp_path, choose_images()[0])  # it may be run again
