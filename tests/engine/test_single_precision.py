"""Apple's GPUs have no double precision: whatever goes to a device is single."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_unet.core.training.training_settings import Augmentation, Training
from napari_unet.engine.device import single
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.training.train import train


class NoDoubles(TorchDispatchMode):
    """Refuses, as such a GPU does, every operation on numbers of double precision."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, made)):
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64:
                raise TypeError(f"{func}: float64 is not supported")
        return made


@pytest.mark.parametrize("task", ["segment", "denoise"])
def test_training_and_predicting_are_of_single_precision(task: Any) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(100, 10, (150, 150)).astype(np.float32)
    labels = np.zeros(image.shape, np.int32)
    labels[60:80, 60:80] = 1
    settings = (
        Training.quick()
        .with_task(task)
        .replace(
            steps=2,
            minutes=0,
            width=2,
            depth=1,
            patch=40,
            batch=2,
            class_balance=0.5,
            validation=0,
        )
    )
    if task == "segment":
        augmentation = Augmentation(elastic=4, blur=1, noise=0.2)
        settings = settings.replace(augmentation=augmentation)
    targets = [labels] if task == "segment" else None
    kind: Any = {"kind": "instances"} if task == "segment" else {}
    with NoDoubles():
        *_, trained = train([image], targets, settings, device="cpu", **kind)
        *_, predicted = predict(trained.model, image)
    assert np.isfinite(predicted.probabilities).all()


def test_the_guard_refuses_doubles() -> None:
    with NoDoubles(), pytest.raises(TypeError, match="float64 is not supported"):
        torch.as_tensor(np.ones(3)).float()


def test_numbers_become_single() -> None:
    assert single([1 / 3, 2.0], torch.device("cpu")).dtype == torch.float32
    assert single(np.eye(2), torch.device("cpu")).tolist() == [[1, 0], [0, 1]]
