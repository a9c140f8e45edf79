"""Starter models under each rule for grey values: `python -m benchmarks.normalisation`.

Judged by the development and the tested part of each set that `benchmarks.accuracy`
has a pretrained model for. Weights are the same, only the rule of the card differs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from benchmarks.accuracy.tasks import TASKS
from benchmarks.accuracy.trial import trial
from napari_unet.core.cells.instances import segment_image
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import Rule
from napari_unet.core.metrics.objects import average_precision
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.io.images import read_image
from napari_unet.io.model_file import load_model
from napari_unet.io.pretrained import pretrained_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.model import Model

_SETS = {"bbbc039": "nuclei", "dsb2018": "nuclei", "usiigaci": "phase_contrast"}
_OVERLAPS = [0.5 + 0.05 * k for k in range(10)]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    print("| set | rule | AP@0.5 | AP@0.5:0.95 | same cells as by `frame` |")
    print("|---|---|--:|--:|--:|")
    for name, kind in _SETS.items():
        model = load_model(pretrained_model(kind))
        for part, task in (("development", trial(name, data)), ("tested", TASKS[name])):
            images = [read_image(data / task.folder / s.image) for s in task.tested]
            truths = [
                np.asarray(read_image(data / task.folder / s.labels).data, np.int32)
                for s in task.tested
            ]
            found = {
                rule: [_cells(model, rule, image) for image in images]
                for rule in get_args(Rule)
            }
            for rule, cells in found.items():
                scores = average_precision(cells, truths, _OVERLAPS)
                same = average_precision(cells, found["frame"], [0.5])[0]
                print(
                    f"| {name}, {part} ({len(images)}) | {rule} | {scores[0]:.4f} | "
                    f"{np.mean(scores):.4f} | {same:.3f} |",
                    flush=True,
                )


def _cells(model: Model, rule: Rule, image: Image) -> NDArray[np.int32]:
    card = model.card.replace(normalisation=rule)
    found = np.zeros((2, *image.field_shape(2)), np.float32)
    for _ in predict(replace(model, card=card), image, out=found):
        pass
    return segment_image(Image(found, "cyx"), 2, card.segmentation)


if __name__ == "__main__":
    main()
