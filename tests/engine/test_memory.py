from __future__ import annotations

import pytest
import torch

from napari_unet.core.training.training_settings import Training
from napari_unet.engine.training.memory import no_memory


@pytest.mark.parametrize(
    ("batch", "advice"),
    [
        (4, "take smaller patches than 100 pixels or fewer than 4 per step."),
        (1, "take smaller patches than 100 pixels."),
    ],
)
def test_patches_that_do_not_fit_are_told_with_what_can_be_less(
    batch: int, advice: str
) -> None:
    error = no_memory(torch.device("cpu"), Training(batch=batch, patch=100))
    assert str(error).endswith(advice)
