from __future__ import annotations

import pytest

from napari_unet.core.network.layers import Drawing


def test_a_sum_of_different_channels_is_refused() -> None:
    net = Drawing(2, 1)
    wide = net.repeat(0, 3)
    with pytest.raises(ValueError, match=r"found \[3, 1\]"):
        net.add(wide, 0)
