from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_unet.core.jobs import SurveyJob
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.worker import survey_job

if TYPE_CHECKING:
    import numpy as np
    import pytest

    from napari_unet.core.events import NetworkSurveyed
    from napari_unet.engine.network.network import Network

SMALL = Training(width=2, depth=1, patch=20, batch=1)


def surveyed(*candidates: Training, slices: int = 1) -> list[NetworkSurveyed]:
    job = SurveyJob(candidates, 1, 2, slices, "cpu")
    context: Any = None
    return list(survey_job.run(job, context))  # type: ignore[arg-type]


def test_each_network_is_tried_out_in_turn() -> None:
    state = torch.random.get_rng_state()
    wide = SMALL.replace(width=8)
    small, large = surveyed(SMALL, wide)
    assert (small.settings, large.settings) == (SMALL, wide)
    assert small.problem == large.problem == ""
    assert small.seconds > 0
    assert 0 < small.memory < large.memory
    # who trains meanwhile draws the same numbers
    torch.testing.assert_close(torch.random.get_rng_state(), state)


def test_the_time_is_that_of_a_megapixel(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def start(network: Network, window: np.ndarray) -> None:
        # a billion multiplications in a second
        output = network.geometry.output_size(window.shape[1:])
        clock[0] += network.geometry.flops(output) / 1e9

    monkeypatch.setattr(survey_job, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(
        "napari_unet.engine.network.network.Network.probabilities", start
    )
    (found,) = surveyed(SMALL)
    # no more than what tiles compute twice
    network = SMALL.architecture(1, 2)
    least = network.flops((1000, 1000)) / 1e9
    assert 0.999 * least <= found.seconds <= 1.2 * least


def test_what_does_not_fit_into_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_job, "free_memory", lambda _: 10_000)
    (found,) = surveyed(SMALL)
    assert found.problem == "Training it takes 0.0 GB of memory, 0.0 GB are free."
    assert found.memory > 10_000


def test_what_cannot_learn_from_the_images_says_why() -> None:
    volumes = SMALL.replace(ndim=3, depth=2, patch=4)
    assert not surveyed(volumes, slices=8)[0].problem
    unetr = volumes.with_network("unetr").replace(width=1, patch=16)
    thin = "UNETR needs stacks of 16 slices, the thinnest has 8."
    assert surveyed(unetr, slices=8)[0].problem == thin
