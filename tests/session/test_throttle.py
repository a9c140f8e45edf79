"""How often: at once, then after the pause; and after it has been quiet."""

from __future__ import annotations

import pytest

from napari_unet.session import throttle
from napari_unet.session.throttle import Debounce, Throttle


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(throttle, "monotonic", lambda: clock[0])
    return clock


def test_a_throttle_lets_the_first_through_and_then_one_in_a_while(
    now: list[float],
) -> None:
    pace = Throttle(0.5)
    assert pace.take()
    now[0] += 0.4
    assert not pace.take()
    now[0] += 0.1
    assert pace.due
    assert pace.take()
    assert not pace.due


def test_a_debounce_waits_until_it_is_quiet(now: list[float]) -> None:
    rest = Debounce(0.5)
    assert not rest.take()
    rest.note()
    now[0] += 0.4
    rest.note()
    now[0] += 0.4
    assert rest.pending
    assert not rest.take()
    now[0] += 0.1
    assert rest.take()
    assert not rest.pending
    assert not rest.take()
