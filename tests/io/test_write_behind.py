from __future__ import annotations

from threading import Event, get_ident

import numpy as np
import pytest

from napari_unet.io.write_behind import WriteBehind, WriteBehindArray


def fail() -> None:
    raise OSError("no space left")


def test_all_is_done_in_order_in_another_thread() -> None:
    done: list[tuple[int, int]] = []
    with WriteBehind() as behind:
        for number in range(20):
            behind.do(lambda n: done.append((n, get_ident())), number)
    assert [number for number, _ in done] == list(range(20))
    assert get_ident() not in {thread for _, thread in done}


def test_whoever_is_too_far_ahead_waits() -> None:
    go, done = Event(), []
    with WriteBehind(most=2) as behind:
        behind.do(go.wait)
        for number in range(2):
            behind.do(done.append, number)
        assert done == []
        go.set()
        behind.do(done.append, 2)
    assert done == [0, 1, 2]


def test_after_an_error_nothing_more_is_done_and_it_is_raised() -> None:
    done: list[int] = []
    go = Event()

    def fail_late() -> None:
        go.wait()
        fail()

    def give() -> None:
        with WriteBehind(most=5) as behind:
            behind.do(fail_late)
            behind.do(done.append, 1)
            go.set()
            behind.do(done.append, 2)

    with pytest.raises(OSError, match="no space left"):
        give()
    assert done == []


def test_leaving_with_an_error_does_not_do_what_waits() -> None:
    go, done = Event(), []

    def leave() -> None:
        with WriteBehind(most=5) as behind:
            behind.do(go.wait, 0.2)
            for number in range(3):
                behind.do(done.append, number)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert done == []


def test_an_array_is_written_behind() -> None:
    array = np.zeros((4, 5))
    with WriteBehind() as behind:
        written = WriteBehindArray(behind, array.__setitem__, array.shape)
        assert written.shape == (4, 5)
        written[1:3, 2] = 7
    assert array[1:3, 2].tolist() == [7, 7]
    assert array.sum() == 14
