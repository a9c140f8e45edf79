from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint

from napari_unet.gui.annotate.axes_boxes import AxesBoxes

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_each_axis_is_chosen_from_a_list(qtbot: QtBot) -> None:
    boxes = AxesBoxes()
    qtbot.addWidget(boxes)
    told: list[str] = []
    boxes.textChanged.connect(told.append)
    boxes.setText("zyx")
    boxes.set_shape((12, 64, 64))
    names = [box.currentText() for box in boxes.boxes]
    assert names == ["z-slices", "rows (y)", "columns (x)"]
    first = boxes.boxes[0]
    first.setCurrentIndex(first.findText("time points"))
    assert boxes.text() == "tyx"
    assert told == ["zyx", "tyx"]
    boxes.show()
    qtbot.waitExposed(boxes)
    # below each other, whatever the lengths
    assert len({box.mapTo(boxes, QPoint()).x() for box in boxes.boxes}) == 1
    # another layer has other axes
    boxes.set_shape((64, 64))
    boxes.setText("yx")
    assert len(boxes.boxes) == 2
    assert boxes.text() == "yx"
    assert all(box.toolTip() and box.accessibleName() for box in boxes.boxes)
