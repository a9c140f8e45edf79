"""The data of a training on the command line: files, a bundle or a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_unet.cli.options import given_settings
from napari_unet.cli.training_inputs import (
    check_given,
    find_inputs,
    read_inputs,
    report_of,
)
from napari_unet.cli.training_settings import training_settings
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.training_settings import FIJI, Augmentation, Training
from napari_unet.io.atomic import check_separate, check_writable
from napari_unet.io.bundle import Bundle, is_bundle
from napari_unet.io.model_file import check_replaceable
from napari_unet.io.saved_project import SavedProject, is_saved_project
from napari_unet.io.trained_run import run_folder_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from napari_unet.core.model import Model

# Options that may be given with a bundle or project, and those that may not.
_OPEN = ("steps", "minutes", "seed", "precision")
_CLOSED = (
    "labels",
    "kind",
    "regions",
    "init",
    "preset",
    "network",
    "validation",
    "axes",
    "channel",
)
_FIJI_RECIPE = (
    "training goes on as the Fiji plugin does it, with Adam and its border weights; "
    "--preset asks for another recipe."
)


def _regions(text: str | None) -> tuple[int, ...] | None:
    """Return the numbers of the classes of regions, None for all."""
    if text == "all":
        return None
    try:
        return tuple(int(number) for number in (text or "").split(",") if text)
    except ValueError:
        raise ValueError(
            f"--regions takes all, or numbers of classes as 1,3, found {text}."
        ) from None


@dataclass(frozen=True, slots=True)
class Source:
    """Training data and settings, from files, a bundle or a project alike."""

    settings: Training
    pairs: Callable[[Literal[2, 3]], Any]  # as of `train_pairs`
    start: Model | None
    notes: Sequence[str]
    report: Mapping[str, Any]  # for programs


def source_of(
    options: argparse.Namespace,
    checkpoint: Path | None = None,
    *,
    goes_on: bool = False,
) -> Source:
    """Find, read and check the training data, and check where to write."""
    path = Path(options.images)
    if is_bundle(path):
        bundle = Bundle(path)
        return _from_holder(options, "bundle", bundle, bundle.record.notes)
    if options.labels is None and is_saved_project(path):
        return _from_holder(options, "project", SavedProject(path))
    # a missing checkpoint is reported last
    there = checkpoint if goes_on and checkpoint and checkpoint.exists() else None
    settings = training_settings(options, options.init or there)
    check_writable(options.output)
    check_given(options, settings)
    pairing = find_inputs(options, settings)
    outputs = [options.output]
    if checkpoint is not None:
        outputs += [checkpoint, run_folder_of(options.output)]
    for output in outputs:
        check_separate(output, pairing.files)
    if checkpoint is not None:
        check_replaceable(options.output)
    if options.json not in (None, "-"):
        check_separate(options.json, (*pairing.files, *outputs))
    inputs = read_inputs(options, settings, pairing)
    from napari_unet.engine.model_formats.catalogue import read_model
    from napari_unet.engine.objectives.catalogue import all_pairs

    start = read_model(options.init) if options.init else None
    kind, regions = inputs.kind, _regions(options.regions)
    brought = (_FIJI_RECIPE,) if settings.preset == FIJI else ()
    return Source(
        settings,
        all_pairs(settings, inputs.images, inputs.known, kind, regions),
        start,
        (*brought, *inputs.notes),
        report_of(pairing, inputs, settings),
    )


def _from_holder(
    options: argparse.Namespace,
    what: str,
    holder: Bundle | SavedProject,
    notes: Sequence[str] = (),
) -> Source:
    """Return the contents of a bundle or project; options change only the budget."""
    path = Path(options.images)
    given = given_settings(options, Training)
    changes = {name: given.pop(name) for name in _OPEN if name in given}
    others = [n for n in _CLOSED if getattr(options, n, None) is not None]
    for prefix, parts in (("border_", BorderWeights), ("augment_", Augmentation)):
        others += [f"{prefix}{name}" for name in given_settings(options, parts, prefix)]
    # 2-D is the default of the parser: it may not have been given
    others += [name for name in given if (name, given[name]) != ("ndim", 2)]
    if others:
        option = f"--{others[0].replace('_', '-')}"
        raise ValueError(
            f"{path}: a {what} has its own images, labels and settings, so {option} "
            "cannot be given; --steps, --minutes, --seed and --precision can."
        )
    check_writable(options.output)
    check_separate(options.output, [path])
    check_replaceable(options.output)
    if "steps" in changes:
        changes["minutes"] = 0.0
    elif "minutes" in changes:
        changes["steps"] = 0
    settings = holder.settings.replace(**changes)
    return Source(settings, holder.pairs, holder.start(), notes, {what: str(path)})
