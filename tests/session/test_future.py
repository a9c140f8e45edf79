"""What comes later: who is told, when, and of several the first that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_unet.session.future import Future, all_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Queue = list[Callable[[], None]]


@pytest.fixture
def posted() -> Queue:
    return []


def test_who_asks_before_and_after_is_told_once(posted: Queue) -> None:
    future, told = Future(posted.append), []
    future.then(lambda: told.append("early"))
    assert not future.done
    future.finish()
    assert told == ["early"]
    future.then(lambda: told.append("late"))
    assert told == ["early"]  # never before `then` returns
    posted.pop()()
    assert told == ["early", "late"]


def test_a_failure_says_why_and_stays(posted: Queue) -> None:
    future, told = Future(posted.append), []
    future.then(lambda: told.append("done"), told.append)
    future.then(lambda: told.append("done"))
    future.finish("no space")
    future.finish()
    assert told == ["no space"]
    assert (future.failed, future.done) == ("no space", False)


def test_several_are_done_when_the_last_is(posted: Queue) -> None:
    parts = [Future(posted.append) for _ in range(3)]
    parts[0].finish()
    whole, told = all_of(parts, posted.append), []
    whole.then(lambda: told.append("done"))
    parts[2].finish()
    assert not whole.done
    parts[1].finish()
    assert whole.done
    assert told == ["done"]


def test_several_fail_with_the_first_that_fails(posted: Queue) -> None:
    parts = [Future(posted.append) for _ in range(3)]
    whole, told = all_of(parts, posted.append), []
    whole.then(lambda: told.append("done"), told.append)
    parts[1].finish("one")
    parts[0].finish("two")
    parts[2].finish()
    assert told == ["one"]


def test_none_of_several_is_waited_for_where_all_are_there(posted: Queue) -> None:
    assert all_of([], posted.append).done
