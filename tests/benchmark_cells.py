"""Cells of the accuracy benchmarks as they are kept, and a product in name only."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from benchmarks.accuracy import family
from benchmarks.accuracy.family import Measured

if TYPE_CHECKING:
    import pytest


def measured(cell: str, score: float, **changes: Any) -> Measured:
    """Return what came out of a cell, with one value for all scores."""
    scores = ("ap@0.5", "ap@0.5:0.95", "adapted_rand_error", "iou")
    told: dict[str, Any] = {
        "cell": cell,
        "parameters": 12345,
        "steps": 100,
        "seconds": 59.0,
        "seconds_per_megapixel": 0.5,
        "device": "cpu (2 threads)",
        "precision": "bf16",
        "problem": None,
        "scores": dict.fromkeys(scores, score),
        "versions": {"torch": "2"},
        "commands": ("napari-unet train", "napari-unet predict"),
    }
    return Measured(**(told | changes))


def fake_product(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replace the product's commands by such that only write what is read of them.

    Of the seed 1 a training fails; of the seed 2 its model is good for nothing.

    Returns
    -------
    list of list of str
        Gets the arguments of each call.
    """
    called: list[list[str]] = []

    def call(arguments: list[str]) -> float:
        called.append(arguments)
        command, given = arguments[0], dict(pairwise(arguments))
        told: dict[str, Any] = {"steps": 7, "seconds": 3.0, "problem": None}
        if command == "train":
            if given["--seed"] == "1":
                raise RuntimeError("train ended with status 1 instead of 0.")
            weights = {
                "weights/a.weight": np.zeros((3, 4)),
                "weights/a.bias": np.ones(3),
            }
            norm = {"weights/b.running_mean": np.zeros(99)}
            save_file(weights | norm, given["--output"])
            if given["--seed"] == "2":
                told["problem"] = "The model takes everything for background."
        elif command == "predict":
            images = sorted(Path(arguments[2]).iterdir())
            told = {
                "images": [
                    {"image": str(i), "seconds": 2.0, "device": "cpu", "precision": "x"}
                    for i in images
                ]
            }
        else:
            told = {"ap@0.5": 0.5, "notes": []}
        Path(given["--json"]).write_text(json.dumps(told), encoding="utf-8")
        if command == "train" and told["problem"]:
            raise RuntimeError("train ended with status 1 instead of 0.")
        return 1.0

    monkeypatch.setattr(family, "call", call)
    monkeypatch.setattr(family, "versions", lambda: {"torch": "2"})
    return called
