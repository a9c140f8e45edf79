"""`napari-unet train`: from images and labels to a model file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil

from napari_unet.cli import remote
from napari_unet.cli.options import (
    MODEL_HELP,
    add_settings,
    axes_option,
    channel_option,
    json_option,
    label_options,
    output_option,
    remote_options,
    write_json,
)
from napari_unet.cli.pairing import pairing_option
from napari_unet.cli.progress import ProgressLine, interruptible
from napari_unet.cli.reporting import Reporter
from napari_unet.cli.stopping import Stopped
from napari_unet.cli.training_progress import follow, summary
from napari_unet.cli.training_source import source_of
from napari_unet.core.events import ModelSaved
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.settings import BorderWeights, Prediction
from napari_unet.core.torchrun import this_member
from napari_unet.core.training.training_settings import (
    AUTO,
    PRESETS,
    Augmentation,
    Training,
)
from napari_unet.io.atomic import remove_strays
from napari_unet.io.model_file import (
    SUFFIX,
    check_replaceable,
    checkpoint_of,
    remove_members,
    save_model,
)
from napari_unet.io.pretrained import model_path
from napari_unet.io.run_folder import save_run
from napari_unet.io.trained_run import check_own

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from napari_unet.core.events import TrainingFinished
    from napari_unet.core.torchrun import Member

# Settings with an option outside of the group "recipe", or with none.
_OWN = (
    "preset",
    "task",
    "network",
    "ndim",
    "steps",
    "minutes",
    "validation",
    "folds",
    "try_both",
    "seed",
    "precision",
)
# Time to write the model file and end the process, at the end of a budget in minutes.
_RESERVE = 0.5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "images",
        help="image file, folder or pattern in quotes; or alone, a bundle or the "
        "folder of a saved project",
    )
    parser.add_argument(
        "labels",
        nargs="?",
        help="label file, folder or pattern in quotes; the images to be made for "
        "--task regress, nothing for denoise",
    )
    output_option(parser, "MODEL", f"model file to write, by custom ending in {SUFFIX}")
    label_options(parser)
    parser.add_argument(
        "--regions",
        metavar="CLASSES",
        help="classes that are areas without objects, such as tissue: all, or their "
        "numbers in semantic or sparse labels with commas between (default: none)",
    )
    pairing_option(parser)
    _add_start(parser)
    add_settings(parser, Training, ("task",))
    parser.add_argument(
        "--preset",
        choices=(*PRESETS, AUTO),
        help="how large the network is and how it learns; auto chooses by what is "
        "annotated, the device and the minutes, says why, and leaves alone what is "
        "given (default: quick; what a model of the Fiji plugin has for --init)",
    )
    parser.add_argument(
        "--network",
        choices=tuple(NETWORKS),
        help="which network of the literature, see napari-unet networks (default: that "
        f"of --init, or {Training.quick().network})",
    )
    budget = parser.add_mutually_exclusive_group()
    add_settings(budget, Training, ("steps", "minutes"))
    parser.add_argument(
        "--validation",
        metavar="F",
        help="share of the annotation that is held out, or none (default: "
        f"{Training.quick().validation})",
    )
    add_settings(parser, Training, ("folds", "try_both", "seed", "precision"))
    add_settings(parser, Prediction, ("device",))
    axes_option(parser)
    channel_option(parser)
    json_option(parser)
    remote_options(
        parser,
        "train",
        "; with --resume, look again at what goes on there",
        "pause, resume, finish, which ends with a model, or cancel",
    )
    recipe = parser.add_argument_group("recipe", "Replace what the preset says.")
    add_settings(recipe, Training, set(Training.model_fields) - set(_OWN))
    border = parser.add_argument_group("border weights")
    add_settings(
        border, BorderWeights, prefix="border_", defaults=Training.quick().border
    )
    augmentation = parser.add_argument_group("augmentation")
    add_settings(augmentation, Augmentation, prefix="augment_")


def _add_start(parser: argparse.ArgumentParser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--init",
        metavar="MODEL",
        type=model_path,
        help="model to start from, also with other classes or channels: "
        f"a {MODEL_HELP}",
    )
    start.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint of an earlier run",
    )


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    if options.on is not None:
        return remote.run(options)
    if options.queue is not None:
        raise ValueError("--queue is the queue of the computer that --on names.")
    member = this_member()
    leads = member is None or member.rank == 0
    heard = (options.events, options.orders, options.pulse) if leads else (None, None)
    reporter = Reporter(*heard)
    with reporter.reported():
        return _run(options, member, reporter)


def _run(options: argparse.Namespace, member: Member | None, reporter: Reporter) -> int:
    checkpoint = checkpoint_of(options.output)
    goes_on = options.resume or _is_restarted(member, checkpoint)
    source = source_of(options, checkpoint, goes_on=goes_on)
    if goes_on and not checkpoint.exists():
        raise FileNotFoundError(f"there is no checkpoint {checkpoint} to resume from.")
    if not goes_on:
        check_replaceable(checkpoint)
        check_own(options.output)
    leads = member is None or member.rank == 0
    if leads:
        remove_strays(options.output.parent)
    before = _changed(checkpoint)
    line = ProgressLine(heard=leads)
    # torch takes a second to load: only now that the input is known to be good
    from napari_unet.engine.training.preparation import RunOptions
    from napari_unet.engine.training.stopwatch import Stopwatch
    from napari_unet.engine.training.team import joined
    from napari_unet.engine.training.train import train_pairs

    try:
        with joined(member, options.device or "auto") as (team, device):
            job = train_pairs(
                source.pairs,
                source.settings,
                RunOptions(
                    source.start,
                    checkpoint if goes_on else None,
                    checkpoint,
                    device,
                    team,
                ),
                clock=Stopwatch(_since_start() + _RESERVE),
                steer=reporter.steer,
            )
            if not leads:
                return _take_part(job)
            finished = follow(reporter.watched(job), line, source.notes)
        _save(finished, options.output, line, reporter)
        remove_members(checkpoint)
    except KeyboardInterrupt as interrupt:
        line.say(f"interrupted{_kept(checkpoint, before)}")
        raise Stopped.after(interrupt) from None
    except Exception:
        if _changed(checkpoint) not in (None, before):
            line.say(f"the training broke off{_kept(checkpoint, before)}")
        raise
    report = summary(options.output, finished)
    line.say(f"{options.output}: {report['verdict']}")
    write_json(report | dict(source.report), options.json)
    return 0 if finished.problem is None else 1


def _since_start() -> float:
    """Return the age of this process in seconds."""
    return time.time() - float(psutil.Process().create_time())


def _is_restarted(member: Member | None, checkpoint: Path) -> bool:
    """Whether torchrun has started all processes again after a checkpoint of theirs.

    One that was there before belongs to another training.
    """
    if member is None or not member.restarts or not checkpoint.exists():
        return False
    torchrun = psutil.Process().parent()
    began = torchrun.create_time() if torchrun else time.time()
    return checkpoint.stat().st_mtime >= began


def _save(
    finished: TrainingFinished, path: Path, line: ProgressLine, reporter: Reporter
) -> None:
    """Save the model and the folder of its run."""
    save_model(finished.model, path)
    try:
        save_run(finished, path)
    except (OSError, ValueError) as error:
        # the model is complete without it
        line.say(f"how it was trained is not kept: {error}")
    reporter.say(
        ModelSaved(
            str(path),
            finished.model.card,
            finished.steps,
            finished.seconds,
            finished.problem,
        )
    )


def _kept(checkpoint: Path, before: int | None) -> str:
    """Say how to go on after a run broke off: only with a checkpoint of its own."""
    now = _changed(checkpoint)
    if now is not None and now != before:
        return f"; go on with --resume ({checkpoint})."
    return " before the first step; nothing is kept of this run."


def _changed(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.exists() else None


def _take_part(job: Any) -> int:
    """Take part in a training of several processes; the first shows and writes all."""
    with interruptible(job) as running:
        for _ in running:
            pass
    return 0
