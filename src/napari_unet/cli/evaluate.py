"""`napari-unet evaluate`: predictions against the truth, with the field's metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.cli.options import axes_option, json_option, write_json
from napari_unet.cli.pairing import pair_files
from napari_unet.core.metrics import METRICS
from napari_unet.io.images import read_image, read_labels

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.image import Image

_FOLDERS = {
    "probability": "probabilities",
    "classes": "classes",
    "instances": "instances",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "predictions",
        type=str,
        help="what predict wrote: its folder, or one of the folders or files in it",
    )
    parser.add_argument("truth", nargs="+", help="label files, folders or patterns")
    parser.add_argument(
        "--metric",
        nargs="+",
        choices=tuple(METRICS),
        default=["iou", "ap"],
        metavar="NAME",
        help=f"out of {', '.join(METRICS)} (default: iou ap)",
    )
    parser.add_argument(
        "--volumes",
        action="store_true",
        help="compare the objects of z-stacks as volumes instead of page by page",
    )
    axes_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    results = evaluate(
        options.predictions,
        options.truth,
        options.metric,
        options.volumes,
        options.axes,
    )
    width = max(len(name) for name in results)
    if options.json != "-":
        for name, value in results.items():
            print(f"{name:{width}}  {value:.4f}")
    write_json(results, options.json)
    return 0


def evaluate(
    predictions: str | Path,
    truth: Sequence[str | Path],
    metrics: list[str],
    volumes: bool = False,
    axes: str | None = None,
) -> dict[str, float]:
    """Measure predictions, files paired by name and stacks page by page.

    Parameters
    ----------
    predictions : str or Path
        Folder that `predict` wrote, or files of the kind that the metrics want.
    truth : sequence of str or Path
        Label files, folders or patterns.
    metrics : list of str
        Names out of `METRICS`.
    volumes : bool
        Whether the slices of a z-stack belong together.
    axes : str, optional
        Axes of label files that do not tell.

    Returns
    -------
    dict of str to float
        Pooled over all images.
    """
    results: dict[str, float] = {}
    for name in metrics:
        metric = METRICS[name]
        found: list[NDArray[Any]] = []
        known: list[NDArray[Any]] = []
        for file, label in pair_files([_source(predictions, metric.wants)], truth):
            prediction = _prediction(file, metric.wants)
            mask = read_labels(label, axes)
            _check_sizes(prediction, mask)
            found += [_as(metric.wants, page) for page in _pages(prediction, volumes)]
            known += [page[0] for page in _pages(mask, volumes)]
        if metric.wants == "probability" or (
            metric.wants == "classes" and _tells_one_class(found)
        ):
            # any label is that one class, so that instance masks can be compared too
            known = [(page > 0).astype(np.uint8) for page in known]
        results |= metric.measure(found, known)
    return results


def _source(predictions: str | Path, wants: str) -> str | Path:
    """Return the subfolder of the kind that a metric wants, if there is one."""
    folder = Path(predictions) / _FOLDERS[wants]
    return folder if folder.is_dir() else predictions


def _prediction(file: Path, wants: str) -> Image:
    return read_image(file) if wants == "probability" else read_labels(file)


def _pages(image: Image, volumes: bool) -> Iterator[NDArray[Any]]:
    for field in image.fields(3 if volumes and image.size("z") > 1 else 2):
        yield field.read()


def _as(wants: str, page: NDArray[Any]) -> NDArray[Any]:
    """Return a page, (channels, ...), as the metric wants it."""
    first: NDArray[Any] = page[0]
    if wants != "probability":
        return first
    if first.dtype.kind != "f":
        return (first > 0).astype(np.float32)
    # background comes first: objects are all that is not background
    return 1 - first if len(page) > 1 else first


def _tells_one_class(pages: Sequence[NDArray[Any]]) -> bool:
    """Whether predictions part only background and one class, of whatever value."""
    values = {int(v) for page in pages for v in np.unique(page) if v > 0}
    return len(values) <= 1


def _check_sizes(prediction: Image, truth: Image) -> None:
    sizes = {a: (prediction.size(a), truth.size(a)) for a in "yx"}
    pages = prediction.size("t") * prediction.size("z")
    sizes["pages"] = pages, truth.size("t") * truth.size("z")
    for axis, (found, wanted) in sizes.items():
        if found != wanted:
            raise ValueError(
                f"{prediction.name}: prediction and truth must have equal sizes, found "
                f"{found} and {wanted} along {axis}."
            )
