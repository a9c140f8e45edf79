"""The box that chooses where networks are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_unet.gui import compute_box
from napari_unet.gui.compute_box import ComputeBox
from napari_unet.session.compute_place import ComputePlace

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


@pytest.fixture
def box(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> ComputeBox:
    monkeypatch.setattr(compute_box, "known_hosts", lambda: ["lab", "gpu"])
    box = ComputeBox(ComputePlace(), compute_box.TRAIN_TIP)
    qtbot.addWidget(box)
    box.show()
    return box


def typed(box: ComputeBox, text: str) -> None:
    edit = box.where.lineEdit()
    assert edit is not None
    edit.selectAll()
    # its line has no focus of its own: keys come to the box
    QTest.keyClicks(box.where, text)
    QTest.keyClick(box.where, Qt.Key.Key_Return)


def test_it_begins_here_and_offers_what_ssh_knows(box: ComputeBox) -> None:
    offered = [box.where.itemText(k) for k in range(box.where.count())]
    assert offered == ["This computer", "lab", "gpu"]
    assert box.where.currentText() == "This computer"
    assert not box.queue.isVisible()


def test_a_host_is_typed_and_may_have_a_queue(box: ComputeBox) -> None:
    place = box._place
    typed(box, "me@lab")
    assert place.where == "me@lab"
    assert box.queue.isVisible()
    QTest.keyClicks(box.queue, "slurm --time=60")
    QTest.keyClick(box.queue, Qt.Key.Key_Return)
    assert (place.where, place.queue) == ("me@lab", "slurm --time=60")
    typed(box, "This computer")
    assert (place.where, place.queue) == ("", "")


def test_what_is_no_host_is_said_and_changes_nothing(box: ComputeBox) -> None:
    typed(box, "lab")
    typed(box, "-oProxyCommand=x")
    assert box._place.where == "lab"
    assert box.problem.text().startswith("A host is written as for ssh")
    typed(box, "gpu")
    assert not box.problem.text()


def test_another_dock_follows(box: ComputeBox) -> None:
    box._place.choose("gpu")
    assert box.where.currentText() == "gpu"


def test_controls_have_names_and_tips(box: ComputeBox) -> None:
    for widget, name in ((box.where, "Compute on"), (box.queue, "Queue")):
        assert widget.accessibleName() == name
        assert widget.toolTip()


def test_it_says_why_it_cannot_be_changed(box: ComputeBox) -> None:
    box.allow(False, "Later.")
    assert not box.where.isEnabled()
    assert not box.queue.isEnabled()
    assert box.where.toolTip().endswith("Later.")
    box.allow(True, "Later.")
    assert box.where.isEnabled()
    assert not box.where.toolTip().endswith("Later.")
