from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from example_architectures import ODD
from napari_unet.core import events
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.event_codec import GO, decode, encode, from_line, to_line
from napari_unet.core.model import ImageScore, ModelCard, Score
from napari_unet.core.training.decision import Decision
from napari_unet.core.training.training_settings import Training

CARD = ModelCard(
    architecture=ODD,
    classes=(ClassInfo(name="nuclei"),),
    training=Training.quick(),
)
BOX = (slice(0, 5), slice(7, 9))
STEP = events.StepDone(7, 0.1 + 0.2, 0.5, float("inf"))
EXAMPLES: list[events.Event] = [
    events.TrainingStarted(
        3,
        "cpu (1 thread)",
        "fp32",
        "nothing is held out",
        ("one", "two"),
        (Decision(field="patch", value=200, reason="so"),),
        3,
    ),
    events.Notice("A sentence."),
    STEP,
    events.ValidationTile(),
    events.ValidationDone(5, Score(loss=0.1, iou=0.9, pixels=7), best=True),
    events.ValidationDone(
        5, ImageScore(loss=0.1, psnr=20.0, ssim=None, pearson=0.5, pixels=7), best=False
    ),
    events.Judging(5),
    events.CheckpointWritten(5, Path("a") / "b.safetensors"),
    events.TileDone(1, None, BOX, 0.25, field_done=True),
    events.BlockDone("cells", 0.5),
    events.TileHalved((100, 200)),
    events.PredictionFinished(None, "cyx", (100, 100), "cpu", "fp32", 1.5),
    events.ModelComparison("better", "Ä sentence.", 0.8, None, 0.7),
    events.ModelSaved("m.safetensors", CARD, 7, 1.5, "too few"),
    events.ModelLoaded(CARD, "cpu"),
    events.ModelWritten("m.onnx", ("a",)),
    events.ModelFormatsFound(
        (events.WrittenFormat("onnx", "ONNX", "tip", (".onnx",), problem="no"),)
    ),
    events.NetworkSurveyed(Training.quick(), 1.0, 2**40, "too large"),
    events.TrainingPlanned(Training.automatic()),
    events.CorrectionUsed(9),
    events.CellsFound(0, 2, 5, 1.0),
    events.WeightsComputed(0, 1, 11.5),
    events.FileWritten("a.tif", 1.0),
    events.FileBegun("a.tif", 1, 2),
    events.FileWaits("a.tif"),
    events.FilePredicted("a.tif", 3, 0.5, None, there=True, notes=("x",)),
]


def test_there_is_an_example_of_each_event_that_goes() -> None:
    assert {type(event) for event in EXAMPLES} == set(GO)


def test_all_others_stay() -> None:
    every = [k for k in vars(events).values() if isinstance(k, type)]
    others = [k for k in every if issubclass(k, events.Event) and k not in GO]
    assert events.TrainingFinished in others
    for kind in others:
        with pytest.raises(TypeError, match="stays on its machine"):
            encode(object.__new__(kind))


@pytest.mark.parametrize(
    "event",
    EXAMPLES,
    ids=[f"{type(e).__name__}-{k}" for k, e in enumerate(EXAMPLES)],
)
def test_an_event_comes_back_as_it_was(event: events.Event) -> None:
    line = to_line(encode(event))
    assert line.count(b"\n") == 1
    assert decode(from_line(line)) == event


def test_an_array_stays() -> None:
    pixels = np.zeros(3)
    for event in (
        events.PredictionFinished(pixels, "cyx", (1, 1), "cpu", "fp32", 1.0),
        events.NeighboursFound(0, 2, pixels),
        events.PointsFound({"y": pixels}),
        events.CellsLinked(3),
    ):
        with pytest.raises(TypeError, match="stays on its machine"):
            encode(event)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (["StepDone"], "no event is called"),
        ({"event": "Popen", "args": "rm"}, "no event is called Popen"),
        ({"event": ["StepDone"]}, "no event is called"),
        ({"event": "TrainingFinished"}, "no event is called"),
        ({"event": "StepDone", "step": 1}, "does not fit"),
        ({**encode(STEP), "more": 1}, "does not fit"),
        ({**encode(STEP), "loss": "x"}, "is damaged"),
        ({**encode(EXAMPLES[8]), "box": [[3, 1]]}, "a start and a stop"),
        ({**encode(EXAMPLES[8]), "box": [["a", "b"]]}, "a start and a stop"),
        ({**encode(EXAMPLES[11]), "probabilities": [1]}, "is damaged"),
    ],
)
def test_what_is_no_event_is_refused(record: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode(record)


@pytest.mark.parametrize("line", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        from_line(line)
