"""The patches of a training, and which are refused."""

from __future__ import annotations

import pytest

from napari_unet.core.network.architecture import u_shape
from napari_unet.core.training.patches import in_window, patch_size, why_not
from napari_unet.core.training.training_settings import Training

SMALL = Training(width=2, depth=2, patch=30, batch=1)


def test_a_patch_is_no_thicker_than_the_thinnest_stack() -> None:
    # two poolings: outputs of any multiple of 4
    plain = u_shape(ndim=3, channels=1, classes=2, width=1, depth=2)
    assert patch_size(plain, 30, slices=10) == (12, 32, 32)
    assert patch_size(plain, 30, slices=100) == (32, 32, 32)
    # of a fixed window the patch is one, whatever its size was to be
    assert patch_size(plain.replace(window=(8, 16, 16)), 30, 100) == (8, 16, 16)


def test_statistics_over_the_window_are_of_the_patch() -> None:
    plain = u_shape(ndim=2, channels=1, classes=2, width=1, depth=2)
    assert in_window(plain, SMALL, slices=1) is plain
    instance = plain.replace(norm="instance")
    assert in_window(instance, SMALL, slices=1).window == (32, 32)
    own = instance.replace(window=(8, 8))
    assert in_window(own, SMALL, slices=1) is own


@pytest.mark.parametrize(
    ("changes", "pixels"),
    [
        # two halvings of a padded patch of 4 leave one pixel; of 5, rounded up, four
        ({"padded": True, "patch": 4}, 1),
        ({"padded": True, "patch": 4, "norm": "none"}, 0),
        ({"padded": True, "patch": 4, "batch": 2}, 2),
        ({"padded": True, "patch": 4, "norm": "instance", "batch": 2}, 1),
        ({"padded": True, "patch": 5}, 4),
        # unpadded the coarsest map is larger by what the way up loses
        ({"patch": 4}, 4),
    ],
)
def test_a_norm_needs_more_than_one_pixel(
    changes: dict[str, object], pixels: int
) -> None:
    problem = why_not(SMALL.replace(**changes), 1, 2, 1)
    assert problem.startswith("Of patches of 4 × 4 pixels one pixel is") is (
        pixels == 1
    )
    assert bool(problem) is (pixels == 1)


def test_a_model_to_start_from_is_judged_by_its_own_network() -> None:
    padded = u_shape(ndim=2, channels=1, classes=2, width=1, depth=2, norm="batch")
    padded = padded.replace(padded=True, window=(4, 4))
    assert why_not(SMALL, 1, 2, 1, padded).startswith("Of patches of 4 × 4 pixels")
    assert not why_not(SMALL.replace(batch=2), 1, 2, 1, padded)


def test_stacks_may_be_too_thin() -> None:
    # tokens of 16 voxels; poolings leave thin stacks alone
    unetr = SMALL.replace(network="unetr", ndim=3, patch=16)
    assert not why_not(unetr, 1, 2, 16)
    thin = "UNETR needs stacks of 16 slices, the thinnest has 15."
    assert why_not(unetr, 1, 2, 15) == thin
    assert not why_not(SMALL.replace(ndim=3), 1, 2, 1)
    instance = SMALL.replace(ndim=3, norm="instance")
    thin = "U-Net needs stacks of 2 slices, the thinnest has 1."
    assert why_not(instance, 1, 2, 1) == thin
    assert not why_not(instance.replace(patch=20), 1, 2, 2)


def test_what_a_network_cannot_be_is_said() -> None:
    assert why_not(SMALL.replace(network="ternaus", depth=6), 1, 2, 1) == (
        "TernausNet has 5 poolings at most, found a depth of 6."
    )
    assert why_not(SMALL.replace(network="fcn8", ndim=3), 1, 2, 9) == (
        "FCN-8s is for slices (2-D) alone."
    )
