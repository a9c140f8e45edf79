from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.array_reference import AnnotationReference, ArrayReference
from napari_unet.session import throttle
from napari_unet.session.annotating.edits import Edit
from napari_unet.session.training.corrections import Corrections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_unet.core.jobs import Correction

ANNOTATION = AnnotationReference(
    ArrayReference("nowhere.raw", (3, 50, 50), "int32"), "zyx", (ClassInfo(),), {}
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Pixels:
    """Stands in for an image list whose pixels are copied when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.held: list[Callable[[], None]] = []
        self.hold = False
        self.failed = ""

    def layers(self, _: str) -> list[object]:
        return [object()]

    def share_frames(self, id_: str, times: Iterable[int]) -> Pixels:
        self.asked.append((id_, list(times)))
        return self

    def then(self, callback: Callable[[], None], failed: Callable[[str], None]) -> None:
        self.held.append((lambda: failed(self.failed)) if self.failed else callback)
        if not self.hold:
            self.release()

    def release(self) -> None:
        for callback in self.held:
            callback()
        self.held.clear()

    def annotation_reference(self, _: str) -> AnnotationReference:
        return ANNOTATION


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttle, "monotonic", clock)
    return clock


@pytest.fixture
def pixels() -> Pixels:
    return Pixels()


@pytest.fixture
def sent() -> list[Correction]:
    return []


def edit(y: int, x: int, *, t: int = 0, z: int = 0) -> Edit:
    return Edit(t, z, (slice(y, y + 5), slice(x, x + 5)))


def made(pixels: Pixels, sent: list[Correction], ndim: int = 2) -> Corrections:
    return Corrections(pixels, ["a", "b"], ndim, sent.append)  # type: ignore[arg-type]


def test_strokes_are_sent_as_one_box_after_a_pause(
    clock: Clock, pixels: Pixels, sent: list[Correction]
) -> None:
    corrections = made(pixels, sent)
    corrections.add("b", edit(10, 20, z=2))
    clock.now += 0.4
    corrections.add("b", edit(30, 12, z=2))
    clock.now += 0.4
    corrections.send_due()
    assert not sent
    clock.now += 0.1
    corrections.send_due()
    corrections.send_due()
    (one,) = sent
    assert (one.image, one.t, one.z) == (1, 0, 2)
    assert one.box == (slice(10, 35), slice(12, 25))
    assert one.annotation is ANNOTATION


def test_a_plane_is_sent_at_most_once_a_second(
    clock: Clock, pixels: Pixels, sent: list[Correction]
) -> None:
    corrections = made(pixels, sent)
    corrections.add("a", edit(0, 0))
    clock.now += 0.5
    corrections.send_due()
    corrections.add("a", edit(5, 5))
    corrections.add("a", edit(5, 5, z=1))
    clock.now += 0.6
    corrections.send_due()
    assert [(c.z, c.box and c.box[0].start) for c in sent] == [(0, 0), (1, 5)]
    clock.now += 0.4
    corrections.send_due()
    assert [c.z for c in sent] == [0, 1, 0]


def test_images_that_are_not_trained_on_are_of_no_interest(
    clock: Clock, pixels: Pixels, sent: list[Correction]
) -> None:
    corrections = made(pixels, sent)
    corrections.add("c", edit(0, 0))
    clock.now += 5
    corrections.send_due()
    assert not sent
    assert not pixels.asked


def test_a_volume_takes_boxes_with_their_slice(
    clock: Clock, pixels: Pixels, sent: list[Correction]
) -> None:
    corrections = made(pixels, sent, ndim=3)
    corrections.add("a", edit(10, 20, t=1, z=2))
    corrections.add("a", edit(10, 20, t=1, z=4))
    clock.now += 0.5
    corrections.send_due()
    (one,) = sent
    assert (one.t, one.z) == (1, None)
    assert one.box == (slice(2, 5), slice(10, 15), slice(20, 25))


def test_a_whole_plane_stays_whole_whatever_is_painted_too(
    clock: Clock, pixels: Pixels, sent: list[Correction]
) -> None:
    corrections = made(pixels, sent)
    corrections.add("a", edit(0, 0))
    corrections.add_plane("a", 0, 0)
    corrections.add("a", edit(0, 0))
    clock.now += 0.5
    corrections.send_due()
    assert [c.box for c in sent] == [None]


def test_pixels_of_a_new_slice_are_there_before_its_correction_is_sent(
    clock: Clock, pixels: Pixels, sent: list[Correction]
) -> None:
    pixels.hold = True
    corrections = made(pixels, sent)
    corrections.add("a", edit(0, 0, t=3))
    clock.now += 0.5
    corrections.send_due()
    assert pixels.asked == [("a", [3])]
    assert not sent
    corrections.add("a", edit(20, 0, t=3))
    pixels.release()
    assert [c.box for c in sent] == [(slice(0, 25), slice(0, 5))]


def test_nothing_is_sent_after_the_end(
    clock: Clock, pixels: Pixels, sent: list[Correction]
) -> None:
    pixels.hold = True
    corrections = made(pixels, sent)
    corrections.add("a", edit(0, 0))
    clock.now += 0.5
    corrections.send_due()
    corrections.close()
    pixels.release()
    corrections.send_due()
    assert not sent


def test_pixels_that_cannot_be_had_are_told_once_and_nothing_is_sent(
    pixels: Pixels, sent: list[Correction], clock: Clock
) -> None:
    pixels.failed = "The disk is full."
    corrections = made(pixels, sent)
    told: list[str] = []
    corrections.failed.connect(told.append)
    corrections.add("a", edit(0, 0))
    clock.now += 10
    corrections.send_due()
    clock.now += 10
    corrections.send_due()
    assert told == ["The disk is full."]
    assert sent == []
    assert len(pixels.asked) == 1
