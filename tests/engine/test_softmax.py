from __future__ import annotations

import pytest
import torch

from napari_unet.engine.network.softmax import softmax


def test_scores_become_probabilities() -> None:
    scores = torch.tensor([[0.0, 1.0, 900.0], [0.0, 2.0, -900.0]])
    found = softmax(scores, dim=0)
    torch.testing.assert_close(found, torch.softmax(scores, dim=0))
    assert found.sum(dim=0).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert scores[0, 2] == 900  # as it was


@pytest.mark.parametrize(
    "shape", [(1, 2, 388, 388), (2, 3, 50, 61), (1, 2, 33, 31, 29)]
)
def test_the_number_of_threads_changes_no_bit(shape: tuple[int, ...]) -> None:
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(softmax(scores, dim=1))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])
