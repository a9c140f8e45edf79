from __future__ import annotations

from math import log

import pytest
import torch

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.engine.training.losses import weighted_cross_entropy


def test_a_hand_computed_case() -> None:
    # two pixels, two classes: probabilities 1/4, 3/4 and 1/2, 1/2
    scores = torch.tensor([[[[0.0, 0.0]], [[log(3), 0.0]]]])
    classes = torch.tensor([[[1, 0]]], dtype=torch.uint8)
    border = torch.tensor([[[0.0, 3.0]]])
    table = torch.tensor([1.0, 2.0])
    loss = weighted_cross_entropy(scores, classes, border, table)
    expected = (2 * -log(3 / 4) + (1 + 3) * log(2)) / (2 + 4)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_pixels_that_are_not_annotated_have_no_influence() -> None:
    torch.manual_seed(0)
    scores = torch.randn(1, 3, 4, 4, requires_grad=True)
    classes = torch.randint(0, 3, (1, 4, 4)).to(torch.uint8)
    classes[0, 1:] = IGNORED
    border = torch.rand(1, 4, 4)
    table = torch.ones(3)
    loss = weighted_cross_entropy(scores, classes, border, table)
    loss.backward()
    assert not scores.grad[0, :, 1:].any()
    assert scores.grad[0, :, 0].all()
    alone = weighted_cross_entropy(
        scores[:, :, :1], classes[:, :1], border[:, :1], table
    )
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)


def test_without_annotation_the_loss_is_zero_and_differentiable() -> None:
    scores = torch.randn(1, 2, 3, 3, requires_grad=True)
    classes = torch.full((1, 3, 3), IGNORED, dtype=torch.uint8)
    loss = weighted_cross_entropy(scores, classes, torch.ones(1, 3, 3), torch.ones(2))
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def test_volumes_are_the_same() -> None:
    torch.manual_seed(0)
    flat = torch.randn(1, 2, 4, 6)
    classes = torch.randint(0, 2, (1, 4, 6))
    border = torch.rand(1, 4, 6)
    table = torch.tensor([0.5, 2.0])
    volume = weighted_cross_entropy(
        flat.reshape(1, 2, 2, 2, 6),
        classes.reshape(1, 2, 2, 6),
        border.reshape(1, 2, 2, 6),
        table,
    )
    plane = weighted_cross_entropy(flat, classes, border, table)
    assert volume.item() == pytest.approx(plane.item(), rel=1e-6)
