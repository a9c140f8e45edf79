"""`napari-unet evaluate`: predictions against the truth, with the field's metrics."""

from __future__ import annotations

import sys
from math import isfinite
from typing import TYPE_CHECKING, Any

from napari_unet.cli.evaluation import Evaluation
from napari_unet.cli.image_scores import are_images, image_scores
from napari_unet.cli.options import axes_option, json_option, labels_option, write_json
from napari_unet.cli.pairing import pairing_option
from napari_unet.cli.progress import ProgressLine
from napari_unet.core.metrics import IMAGE_METRICS, METRICS
from napari_unet.core.text import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "predictions",
        type=str,
        help="what predict wrote: its folder, or one of the folders or files in it; or "
        "masks of another tool",
    )
    parser.add_argument(
        "truth",
        nargs="+",
        help="label files, or images for images that a network made; folders or "
        "patterns",
    )
    parser.add_argument(
        "--metric",
        nargs="+",
        choices=(*METRICS, *IMAGE_METRICS),
        metavar="NAME",
        help=f"out of {', '.join(METRICS)} (default: iou ap); of images out of "
        f"{', '.join(IMAGE_METRICS)} (default: all)",
    )
    labels_option(parser)
    parser.add_argument(
        "--ignore-below",
        type=int,
        metavar="PX",
        help="give ap once more without objects of fewer pixels (voxels of volumes), "
        "which then count neither as found nor as missed nor as wrong",
    )
    parser.add_argument(
        "--volumes",
        action="store_true",
        help="compare the objects of z-stacks as volumes instead of page by page",
    )
    pairing_option(parser)
    axes_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    results: Mapping[str, float | None]
    metrics = _metrics(options)
    if set(metrics) <= set(IMAGE_METRICS):
        scores = image_scores(
            options.predictions,
            options.truth,
            metrics,
            axes=options.axes,
            by=options.pair_by,
            output=options.json,
        )
        results, notes, problems = scores.results, scores.notes, scores.problems
        report: dict[str, Any] = {"pairs": scores.pairs}
    else:
        evaluation = Evaluation(
            options.predictions,
            options.truth,
            volumes=options.volumes,
            axes=options.axes,
            kind=options.kind,
            by=options.pair_by,
            output=options.json,
            ignore_below=options.ignore_below,
        )
        results, notes = evaluation.scores(metrics), evaluation.notes
        problems = evaluation.problems
        report = {"pairs": evaluation.pairs, "labels": evaluation.kind}
    for note in notes if results else ():
        print(note, file=sys.stderr)
    width = max((len(name) for name in results), default=0)
    if options.json != "-":
        for name, value in results.items():
            print(f"{name:{width}}  {'-' if value is None else f'{value:.4f}'}")
    # JSON has no word for the PSNR of what is equal
    known = {
        n: v if v is not None and isfinite(v) else None for n, v in results.items()
    }
    report |= {"notes": notes, "problems": problems}
    write_json({**known, **report}, options.json)
    line = ProgressLine()
    if results and problems:
        line.say(f"{counted(len(problems), 'pair is', 'pairs are')} not compared:")
    return line.fail(problems)


def _metrics(options: argparse.Namespace) -> list[str]:
    """Return the metrics that are asked for, or the usual ones.

    ValueError if they are of images and of labels, or options are of labels alone.
    """
    usual = [*IMAGE_METRICS] if are_images(options.predictions) else ["iou", "ap"]
    metrics: list[str] = options.metric or usual
    of_images = [name for name in metrics if name in IMAGE_METRICS]
    if of_images and len(of_images) < len(metrics):
        others = [name for name in metrics if name not in IMAGE_METRICS]
        raise ValueError(
            f"--metric {' '.join(of_images)} is of images and {' '.join(others)} of "
            "labels: evaluate them one after the other."
        )
    if of_images and (options.kind or options.volumes):
        raise ValueError(
            "--labels and --volumes are for labels, the metrics "
            f"{' '.join(of_images)} are of images."
        )
    if options.ignore_below is not None:
        if options.ignore_below < 1:
            raise ValueError(
                "--ignore-below must be at least 1 pixel, found "
                f"{options.ignore_below}."
            )
        if "ap" not in metrics:
            raise ValueError(
                f"--ignore-below is for ap, the metrics are {' '.join(metrics)}."
            )
    return metrics
