from __future__ import annotations

import pytest

from napari_unet.core.text import counted, reason


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 cells"), (1, "1 cell"), (2, "2 cells"), (21, "21 cells")],
)
def test_one_thing_is_one(number: int, words: str) -> None:
    assert counted(number, "cell") == words


def test_words_that_take_no_s_are_given() -> None:
    assert counted(1, "image is", "images are") == "1 image is"
    assert counted(3, "image is", "images are") == "3 images are"


def test_a_reason_is_short_whatever_a_library_says() -> None:
    assert reason(ValueError("wrong.\nmore")) == "wrong"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(ValueError("wrong \x00" * 1000))) < 2000
