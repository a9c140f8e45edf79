"""One signal passed on by another."""

from __future__ import annotations

from psygnal import Signal

from napari_unet.session.forward_signal import forward_signal


class _Speaker:
    said = Signal(str, str)
    failed = Signal(str)
    changed = Signal()


def test_what_is_said_is_passed_on_and_nothing_before() -> None:
    first, second, heard = _Speaker(), _Speaker(), []
    second.said.connect(lambda *words: heard.append(words))
    forward_signal(first.said, second.said)
    assert heard == []
    first.said.emit("info", "Ready.")
    assert heard == [("info", "Ready.")]


def test_words_are_put_in_front() -> None:
    first, second, heard = _Speaker(), _Speaker(), []
    second.said.connect(lambda *words: heard.append(words))
    forward_signal(first.failed, second.said, "error")
    first.failed.emit("The disk is full.")
    assert heard == [("error", "The disk is full.")]


def test_a_signal_without_words_is_passed_on() -> None:
    first, second, heard = _Speaker(), _Speaker(), []
    second.changed.connect(lambda: heard.append(True))
    forward_signal(first.changed, second.changed)
    first.changed.emit()
    assert heard == [True]
