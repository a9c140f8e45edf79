"""Networks that run as they are, against the same network as a model of ours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.speed.networks import noise, untrained
from benchmarks.speed.row import Row, interleaved, middle, ratio
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.model_formats.catalogue import MODEL_FORMATS, read_model
from napari_unet.engine.network.network import prepare

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.engine.network.network import Network

# Those that stay files which run as they are; the others become models of ours.
_FORMATS = "torchscript", "onnx"


def against_other_programs_files(
    folder: Path, side: int = 1024, repeats: int = 4
) -> list[Row]:
    """Predict through TorchScript and ONNX, and through the model they were made of."""
    model, image = untrained(Training.paper()), noise(side)
    works = {"ours": partial(_predict, prepare(model, "cpu", "fp32"), image)}
    for name in _FORMATS:
        path = folder / f"paper{MODEL_FORMATS[name].written[0]}"
        MODEL_FORMATS[name].write(model, path)
        network = prepare(read_model(path), "cpu", "fp32")
        works[name] = partial(_predict, network, image)
    seconds = interleaved(works, repeats)
    return [
        Row(
            f"predict {side} × {side}, the paper's network as "
            f"{MODEL_FORMATS[name].title}",
            "the same network as a model of ours, both fp32",
            ratio(seconds, name, "ours"),
            "≤",
            1.1,
            " ×",
            f"{middle(seconds[name])} and {middle(seconds['ours'])}",
        )
        for name in _FORMATS
    ]


def _predict(network: Network, image: NDArray[np.uint8]) -> None:
    for _ in predict(network, image):
        pass
