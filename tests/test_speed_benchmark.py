from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed.__main__ import NOTES
from benchmarks.speed.limit import Limit
from benchmarks.speed.networks import operations, operations_without_halo
from benchmarks.speed.plain import PlainUNet
from benchmarks.speed.report import report, store
from benchmarks.speed.row import Row, interleaved, ratio
from benchmarks.speed.weights import by_definition, cells
from napari_unet.core.network.architecture import paper, u_shape
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.loss_weights import border_weights
from napari_unet.engine.network.unet import UNet

ROOT = Path(__file__).parents[1]


def test_works_take_turns() -> None:
    order: list[str] = []
    seconds = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3
    )
    assert order == ["a", "b"] * 3
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_a_slow_minute_does_not_change_a_ratio() -> None:
    seconds = {"ours": [1.0, 1.1, 10.0], "theirs": [3.0, 3.3, 30.0]}
    assert ratio(seconds, "theirs", "ours") == pytest.approx(3)


def test_operations_are_those_of_the_drawing() -> None:
    # one level: 3 x 3 x 1 x 4, 3 x 3 x 4 x 4 and 1 x 1 x 4 x 2 for each pixel
    table = u_shape(ndim=2, channels=1, classes=2, width=4, depth=0)
    by_hand = 2 * (9 * 4 * 12**2 + 9 * 16 * 10**2 + 8 * 10**2)
    assert operations(table, (10, 10)) == by_hand
    assert operations_without_halo(paper()) / 1e6 == pytest.approx(1.473, abs=0.001)


def test_plain_modules_compute_the_same_bits() -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=4, depth=2)
    ours, plain = UNet(table).eval(), PlainUNet(table, width=4, depth=2).eval()
    plain.load_state_dict(ours.state_dict())
    window = torch.randn(1, 1, *table.input_size((20, 28)))
    with torch.inference_mode():
        found, expected = (
            module.to(memory_format=torch.channels_last)(window)  # type: ignore[call-overload]
            for module in (ours, plain)
        )
    assert torch.equal(found, expected)


def test_the_limit_is_the_most_that_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SIDE", "_CHANNELS", "_PIXELS"):
        monkeypatch.setattr(f"benchmarks.speed.limit.{name}", 64)
    limit = Limit(torch.device("cpu"), torch.float32)
    first = limit.measure()
    assert 0 < first <= limit.measure() == limit.best


def test_the_definition_of_border_weights_is_what_we_compute() -> None:
    labels = cells(128, 12)
    weights = border_weights(labels, BorderWeights())
    np.testing.assert_allclose(weights, by_definition(labels), atol=1e-4)


def test_rows_are_kept_by_name_and_told_with_their_verdicts(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    here, there = {"": "cpu", "torch": "2"}, {"": "cuda", "torch": "2"}
    store(file, here, "a", [Row("old", "it", 1.0, "≥", 3.0)])
    store(file, there, "b", [Row("far", "it", 9.0, "≤", 10.0, " ms", "20 times")])
    store(file, here, "a", [Row("new", "it", 4.0, "≥", 3.0, " ×")])
    store(file, here, "c", [Row("slow", "it", 1234.5, "≤", 3.0)])
    page = report(json.loads(file.read_text(encoding="utf-8")), {"c": "Why so slow."})
    assert "old" not in page
    assert "| new | it | 4 × | ≥ 3 × | met |  |" in page
    assert "| slow | it | 1234 | ≤ 3 | **missed** |  |" in page
    assert page.index("On cpu, torch 2:") < page.index("- Why so slow.")
    assert page.index("On cuda, torch 2:") < page.index("| far | it | 9 ms | ≤ 10 ms")


def test_the_page_is_made_from_the_figures() -> None:
    content = json.loads((ROOT / "docs/performance.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert page == report(content, NOTES)
