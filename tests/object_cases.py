"""Label images that are hard to write as outlines, and objects of them."""

from __future__ import annotations

import numpy as np

from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image


def ids(*rows: str) -> np.ndarray:
    return np.array([[int(c) for c in row] for row in rows])


CASES: dict[str, tuple[str, np.ndarray]] = {
    "hole": ("yx", ids("1111", "1001", "1111")),
    "object in a hole": ("yx", ids("11111", "10001", "10201", "10001", "11111")),
    "object that fills a hole": ("yx", ids("111", "121", "111")),
    "holes that touch": ("yx", ids("11111", "10111", "11011", "11111")),
    "hole that opens in a corner": ("yx", ids("0110", "1010", "1110")),
    "diagonal touch": ("yx", ids("1100", "1100", "0011", "0011")),
    "chess board": ("yx", ids("10101", "01010", "10101")),
    "piece in a hole of its own": ("yx", ids("11110", "10010", "10101", "11110")),
    "one pixel": ("yx", ids("000", "020", "000")),
    "all borders": ("yx", ids("1102", "1002", "0000", "3044")),
    "full": ("yx", ids("11", "11")),
    "two pieces": ("yx", ids("1100011", "1102011")),
    "empty": ("yx", ids("000", "000")),
    "one row": ("yx", ids("1102203")),
    "one column": ("yx", ids("1102203").T),
    "one of one pixel": ("yx", ids("1")),
    "beyond 8 bits": ("yx", ids("012", "210") * 200),
    "beyond 16 bits": ("yx", ids("012", "210") * 65_535),
    "the highest id": ("yx", ids("01", "10") * (2**32 - 1)),
    "empty slices": ("zyx", np.stack([ids("000"), ids("011"), ids("000")])),
    "time series": ("tyx", np.stack([ids("010"), ids("011"), ids("220")])),
    "time and slices": ("tzyx", np.arange(2 * 3 * 2 * 4).reshape(2, 3, 2, 4) % 5),
    "one slice": ("zyx", ids("011")[np.newaxis]),
}


def random_labels(seed: int) -> tuple[str, np.ndarray]:
    """Ids from anywhere in any pieces, dense or sparse, of up to four axes."""
    rng = np.random.default_rng(seed)
    axes = str(rng.choice(["yx", "zyx", "tyx", "tzyx"]))
    shape = [int(rng.integers(1, 4 if a in "tz" else 14)) for a in axes]
    names = np.append(0, rng.integers(1, 2 ** rng.integers(2, 32), 4))
    return axes, names[rng.integers(0, rng.integers(2, 6), shape)]


def objects(axes: str, labels: np.ndarray) -> Objects:
    """Objects of two classes, one of them in a colour, sure to a quarter."""
    found = [int(label) for label in np.unique(labels) if label > 0]
    return Objects(
        Image(labels, axes, (0.5,) * sum(a in "zyx" for a in axes), "picture"),
        (ObjectClass("nuclei", "#e69f00"), ObjectClass("Zellen, große")),
        {label: 1 + label % 2 for label in found},
        dict.fromkeys(found, 0.25),
    )
