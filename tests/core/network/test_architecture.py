from __future__ import annotations

import pytest
from pydantic import ValidationError

from napari_unet.core.network.architecture import (
    Architecture,
    Level,
    paper,
    u_shape,
)
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.nnunet import nnunet, resenc
from published_networks import unet3d


def test_the_paper_takes_572_and_gives_388() -> None:
    table = paper()
    assert table.output_size((572, 572)) == (388, 388)
    assert table.halo == (92, 92)
    assert table.step == (16, 16)
    assert table.min_input == (188, 188)
    assert table.min_output == (4, 4)


def test_valid_sizes_of_the_paper_are_16_k_plus_60() -> None:
    table = paper()
    valid = []
    for n in range(1, 701):
        try:
            table.output_size((n, 572))
        except ValueError:
            continue
        valid.append(n)
    assert valid == [16 * k + 60 for k in range(8, 41)]


@pytest.mark.parametrize(
    ("depth", "lost", "smallest"),
    [(1, 16, 18), (2, 40, 44), (3, 88, 92), (4, 184, 188), (5, 376, 380)],
)
def test_border_and_smallest_input_by_depth(
    depth: int, lost: int, smallest: int
) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=1, depth=depth)
    assert table.min_input == (smallest, smallest)
    assert table.halo == (lost // 2, lost // 2)
    assert table.step == (2**depth, 2**depth)


def test_the_3d_u_net_takes_132_132_116_and_gives_44_44_28() -> None:
    assert unet3d().output_size((116, 132, 132)) == (28, 44, 44)


def test_an_axis_can_be_pooled_at_fewer_levels() -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=2, depth=3, flat=(2, 0, 0))
    assert table.step == (2, 8, 8)
    assert table.halo == (8, 44, 44)
    assert table.output_covering((14, 100, 100)) == (14, 100, 100)


def test_covering_and_within_bracket_each_size() -> None:
    table = paper()
    for n in range(1, 400):
        above, below = table.output_covering((n, n)), table.output_within((n, n))
        assert above[0] >= n
        assert above[0] - n < 16
        assert below[0] <= max(n, 4)
        assert (above[0] + 124) % 16 == (below[0] + 124) % 16 == 0


def test_a_wrong_size_names_the_nearest_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"571 × 572.*556 × 572 and 572 × 572"):
        paper().output_size((571, 572))


def test_too_small_a_size_names_the_smallest() -> None:
    with pytest.raises(ValueError, match="are 188 × 188 and 188 × 188"):
        paper().output_size((10, 10))


def test_a_wrong_number_of_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 2 spatial axes"):
        paper().output_size((572, 572, 572))


_BOTTOM = Level(down=(2, 2), kernel=(3, 3), pool=(1, 1))
_TOP = Level(down=(2, 2), up=(2, 2), up_conv=2, kernel=(3, 3), pool=(2, 2))


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((_TOP.replace(kernel=(2, 3)), _BOTTOM), "kernels must be odd"),
        ((_TOP.replace(pool=(0, 2)), _BOTTOM), "pool must be 1 or more"),
        ((_TOP.replace(kernel=(3,)), _BOTTOM), "one value for each"),
        ((_TOP,), "all levels but the bottom"),
        ((_BOTTOM, _BOTTOM), "all levels but the bottom"),
        ((_TOP, _BOTTOM.replace(pool=(2, 2))), "bottom level is not pooled"),
        ((_TOP.replace(down=(0, 2)), _BOTTOM), "widths must be 1 or more"),
    ],
)
def test_levels_that_do_not_fit_together_are_refused(
    levels: tuple[Level, ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Architecture(levels=levels)


def test_an_architecture_survives_json() -> None:
    for table in (paper(), unet3d()):
        assert Architecture.model_validate_json(table.model_dump_json()) == table


def test_only_statistics_over_the_window_depend_on_it() -> None:
    assert not paper().sees_window
    assert not unet3d().sees_window
    assert paper().replace(norm="instance").sees_window
    assert paper().replace(padded=True, window=(64, 64)).sees_window


def test_what_is_interpolated_has_no_up_convolution() -> None:
    Architecture(levels=(_TOP.replace(up_conv=0), _BOTTOM), enlarge="linear")
    with pytest.raises(ValidationError, match="need up and no up_conv"):
        Architecture(levels=(_TOP, _BOTTOM), enlarge="linear")


def test_an_aligned_network_reduces_maps_from_the_images_first_pixel_on() -> None:
    # an unaligned window of four poolings begins at -92, its coarsest map at -62
    table = paper().replace(aligned=True)
    coarsest = max(
        (table.trace.extents(n)[0] for n in range(len(table.drawing.layers))),
        key=lambda extent: extent.scale,
    )
    assert table.halo == (94, 94)
    assert (coarsest.origin - 94) % 16 == 0
    assert table.min_output == (16, 16)
    assert table.is_later
    # a padded one is so in any case
    padded = table.replace(padded=True, window=(32, 32))
    assert padded.halo == (0, 0)


@pytest.mark.parametrize(
    "network",
    [
        unet3d(),
        u_shape(ndim=3, channels=1, classes=2, width=2, depth=3, flat=(2, 0, 0)),
        nnunet(Choice(ndim=2, width=2, depth=3)),
        resenc(Choice(ndim=2, width=2, depth=2)),
    ],
)
def test_other_networks_are_aligned_too(network: Architecture) -> None:
    table = network.replace(aligned=True)
    for axis, step in enumerate(table.step):
        maps = [table.trace.extents(n)[axis] for n in range(len(table.drawing.layers))]
        coarsest = max(maps, key=lambda extent: extent.scale)
        assert (coarsest.origin - table.halo[axis]) % step == 0
        assert table.halo[axis] - network.halo[axis] < step


def test_an_interpolation_from_corner_to_corner_has_to_be_padded() -> None:
    levels = _TOP.replace(up_conv=0), _BOTTOM
    with pytest.raises(ValidationError, match="the network has to be padded"):
        Architecture(levels=levels, enlarge="linear_corners")
    padded = Architecture(levels=levels, enlarge="linear", padded=True, window=(16, 16))
    assert padded.replace(enlarge="linear_corners").output_size((16, 16)) == (16, 16)
