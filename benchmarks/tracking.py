"""How well cells are followed, by py-ctcmetrics: `python -m benchmarks.tracking`.

The masks of DIC-C2DH-HeLa's silver truth, whose ids are consistent in time, get other
ids in each frame, are followed, and are compared with the truth; then once more with
some of the cells missing. `--masks FILE` follows those of a label image with the axes
t, y, x instead, such as `instances/01.tif` of a prediction.

That truth has no file of tracks: they are made from its ids, and tracks that begin
where another one ended in the frame before are its daughters if there are two.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.cells.objects import Objects
from napari_unet.core.cells.tracking import track_cells
from napari_unet.core.images.image import Image
from napari_unet.io.images import read_labels
from napari_unet.io.objects import ctc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_SHOWN = ("DET", "SEG", "TRA", "LNK", "CT", "TF", "BC(0)")
_MISSING = (0.0, 0.02, 0.1)


def truth_of(folder: Path) -> NDArray[np.integer]:
    """Read the masks of all frames, (t, y, x), with their ids through time."""
    files = sorted(folder.glob("man_seg*.tif"))
    if not files:
        raise SystemExit(f"{folder}: holds no man_segTTT.tif.")
    return np.stack([read_labels(file).read() for file in files])


def mothers_of(truth: NDArray[np.integer]) -> dict[int, int]:
    """Return the mother of each daughter."""
    ids = [set(np.unique(frame).tolist()) - {0} for frame in truth]
    daughters: dict[int, list[int]] = {}
    for t in range(1, len(truth)):
        ended = ids[t - 1].difference(*ids[t:])
        for label in sorted(ids[t].difference(*ids[:t])):
            below = truth[t - 1][truth[t] == label]
            overlaps = np.bincount(below[np.isin(below, list(ended))], minlength=1)
            if overlaps.any():
                daughters.setdefault(int(overlaps.argmax()), []).append(label)
    two = {mother: each for mother, each in daughters.items() if len(each) > 1}
    return {label: mother for mother, each in two.items() for label in each}


def untracked(
    truth: NDArray[np.integer], missing: float, seed: int = 0
) -> NDArray[np.integer]:
    """Give cells other ids in each frame, and leave a share of them out."""
    rng = np.random.default_rng(seed)
    masks = np.zeros_like(truth)
    for t, frame in enumerate(truth):
        names = rng.permutation(int(truth.max())) + 1
        names[rng.random(names.size) < missing] = 0
        masks[t] = np.concatenate([[0], names])[frame]
    return masks


def scores(
    masks: NDArray[np.integer], truth: NDArray[np.integer], mothers: Mapping[int, int]
) -> dict[str, float]:
    """Follow cells (t, y, x); return what py-ctcmetrics says of it."""
    from ctc_metrics import evaluate_sequence

    tracks = track_cells(Image(masks, "tyx"))
    found = np.stack([tracks.rename(t, frame) for t, frame in enumerate(masks)])
    with tempfile.TemporaryDirectory() as folder:
        result, gold = Path(folder) / "01_RES", Path(folder) / "01_GT"
        ctc.write(result, Objects(Image(found, "tyx"), parent_of=tracks.parents))
        gold.mkdir()
        for part, name in (("SEG", "man_seg"), ("TRA", "man_track")):
            ctc.write(gold / part, Objects(Image(truth, "tyx"), parent_of=mothers))
            for file in (gold / part).glob("mask*.tif"):
                file.rename(gold / part / file.name.replace("mask", name))
            (gold / part / "res_track.txt").rename(gold / part / "man_track.txt")
        with redirect_stdout(StringIO()):  # it prints all it knows
            told = evaluate_sequence(
                str(result), str(gold), metrics=["Valid", *_SHOWN], threads=1
            )
    if told["Valid"] != 1:
        raise RuntimeError("py-ctcmetrics calls the result invalid")
    return {name: float(told[name]) for name in _SHOWN}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--frames", type=int, help="only so many of the first")
    options = parser.parse_args(arguments)
    folder = options.data / "ctc_dic_c2dh_hela" / "01_ST" / "SEG"
    truth = truth_of(folder)[: options.frames]
    mothers = mothers_of(truth)
    if options.masks:
        rows = {options.masks.name: read_labels(options.masks).read()}
    else:
        rows = {f"{share:.0%} missing": untracked(truth, share) for share in _MISSING}
    print(f"{'masks':16}", *(f"{name:>6}" for name in _SHOWN))
    for name, masks in rows.items():
        found = scores(masks, truth, mothers)
        print(f"{name:16}", *(f"{found[key]:6.3f}" for key in _SHOWN), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
