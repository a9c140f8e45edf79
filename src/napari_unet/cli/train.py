"""`napari-unet train`: from images and labels to a model file."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from napari_unet.cli.options import (
    MODEL_HELP,
    add_settings,
    axes_option,
    channel_option,
    far_options,
    given_settings,
    json_option,
    label_options,
    output_option,
    write_json,
)
from napari_unet.cli.pairing import pairing_option
from napari_unet.cli.progress import ProgressLine, clock, interruptible
from napari_unet.cli.reporting import Reporter
from napari_unet.cli.stopping import Stopped
from napari_unet.cli.training_inputs import (
    check_given,
    find_inputs,
    read_inputs,
    report_of,
)
from napari_unet.core.events import ModelSaved
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.settings import BorderWeights, Prediction
from napari_unet.core.text import counted
from napari_unet.core.torchrun import this_member
from napari_unet.core.training.training_settings import (
    AUTO,
    FIJI,
    OF_NETWORK,
    PRESETS,
    Augmentation,
    Training,
)
from napari_unet.io.atomic import check_separate, check_writable, remove_strays
from napari_unet.io.bundle import Bundle, is_bundle
from napari_unet.io.model_file import (
    SUFFIX,
    check_replaceable,
    checkpoint_of,
    remove_members,
    save_model,
)
from napari_unet.io.pretrained import model_path
from napari_unet.io.run_folder import run_folder_of, save_run
from napari_unet.io.saved_project import SavedProject, is_saved_project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator, Mapping, Sequence

    from napari_unet.core.events import Event, TrainingFinished
    from napari_unet.core.model import Model
    from napari_unet.core.torchrun import Member
    from napari_unet.core.training.objectives import Task

# Asked for apart from the rest of the recipe, or not at all.
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
# Options that a bundle leaves open, and some that it does not.
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
# Time to write the model file and end the process, at the end of a budget in minutes.
_RESERVE = 0.5
_FIJI_RECIPE = (
    "training goes on as the Fiji plugin does it, with Adam and its border weights; "
    "--preset asks for another recipe."
)


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
    far_options(
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


@dataclass(frozen=True, slots=True)
class Source:
    """What a training learns from, however it is given."""

    settings: Training
    pairs: Callable[[Literal[2, 3]], Any]  # as of `train_pairs`
    start: Model | None
    notes: Sequence[str]
    report: Mapping[str, Any]  # for programs


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    if options.on is not None:
        from napari_unet.cli.far import run as run_far

        return run_far(options)
    if options.queue is not None:
        raise ValueError("--queue is the queue of the computer that --on names.")
    member = this_member()
    leads = member is None or member.rank == 0
    heard = (options.events, options.orders) if leads else (None, None)
    reporter = Reporter(*heard)
    with reporter.reported():
        return _run(options, member, reporter)


def _run(options: argparse.Namespace, member: Member | None, reporter: Reporter) -> int:
    checkpoint = checkpoint_of(options.output)
    goes_on = options.resume or _is_restarted(member, checkpoint)
    source = source_of(options, checkpoint, goes_on=goes_on)
    if goes_on and not checkpoint.exists():
        raise FileNotFoundError(f"there is no checkpoint {checkpoint} to resume from.")
    leads = member is None or member.rank == 0
    if leads:
        remove_strays(options.output.parent)
    before = _changed(checkpoint)
    line = ProgressLine(heard=leads)
    # torch takes a second to load: only now that the input is known to be good
    from napari_unet.engine.training.run import train_pairs
    from napari_unet.engine.training.stopwatch import Stopwatch
    from napari_unet.engine.training.team import joined

    try:
        with joined(member, options.device or "auto") as (team, device):
            job = train_pairs(
                source.pairs,
                source.settings,
                start=source.start,
                resume=checkpoint if goes_on else None,
                checkpoint=checkpoint,
                device=device,
                clock=Stopwatch(_since_start() + _RESERVE),
                team=team,
                steer=reporter.steer,
            )
            if not leads:
                return _take_part(job)
            finished = follow(reporter.watched(job), line, source.notes)
        save_model(finished.model, options.output)
        _keep_run(finished, options.output, line)
        reporter.say(
            ModelSaved(
                str(options.output),
                finished.model.card,
                finished.steps,
                finished.seconds,
                finished.problem,
            )
        )
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
    """Return how long this process runs, in seconds."""
    return time.time() - float(psutil.Process().create_time())


def source_of(
    options: argparse.Namespace,
    checkpoint: Path | None = None,
    *,
    goes_on: bool = False,
) -> Source:
    """Find and read what is to be learnt from, and check it and where to write."""
    path = Path(options.images)
    if is_bundle(path):
        bundle = Bundle(path)
        return _of_holder(options, "bundle", bundle, bundle.record.notes)
    if options.labels is None and is_saved_project(path):
        return _of_holder(options, "project", SavedProject(path))
    # a checkpoint that is missing is told of last
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


def _of_holder(
    options: argparse.Namespace,
    what: str,
    holder: Bundle | SavedProject,
    notes: Sequence[str] = (),
) -> Source:
    """Return what a bundle or project holds; only the budget is ours to choose."""
    path = Path(options.images)
    given = given_settings(options, Training)
    changes = {name: given.pop(name) for name in _OPEN if name in given}
    others = [n for n in _CLOSED if getattr(options, n, None) is not None]
    for prefix, parts in (("border_", BorderWeights), ("augment_", Augmentation)):
        others += [f"{prefix}{name}" for name in given_settings(options, parts, prefix)]
    # 2-D is what argparse has where nothing is said
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


def _is_restarted(member: Member | None, checkpoint: Path) -> bool:
    """Whether torchrun has started all processes again after a checkpoint of theirs.

    One that was there before belongs to another training.
    """
    if member is None or not member.restarts or not checkpoint.exists():
        return False
    torchrun = psutil.Process().parent()
    began = torchrun.create_time() if torchrun else time.time()
    return checkpoint.stat().st_mtime >= began


def _keep_run(finished: TrainingFinished, model: Path, line: ProgressLine) -> None:
    """Keep what a replay takes; without it the model is no worse."""
    try:
        save_run(finished, model)
    except (OSError, ValueError) as error:
        line.say(f"how it was trained is not kept: {error}")


def training_settings(
    options: argparse.Namespace, begun: Path | None = None
) -> Training:
    """Return the preset with what was given on the command line.

    Network and task are those of the model or checkpoint that it begins with, if there
    is one. A ValueError says what cannot be had of a network.
    """
    from napari_unet.engine.model_formats.catalogue import card_of

    card = None if begun is None else card_of(begun)
    settings = _of_preset(options, "segment" if card is None else card.training.task)
    changes = given_settings(options, Training)
    changes.pop("preset", None)
    if options.preset == AUTO:
        changes["by_hand"] = _by_hand(changes)
    if begun is not None and card is not None:
        if options.init and (problem := card.refusal_as_start(settings)):
            raise ValueError(problem)
        own = card.training
        _check_kept(begun, own, changes)
        settings = settings.with_network(own.network).with_network_of(own)
        settings = settings if options.preset else settings.with_recipe_of(own)
    elif options.network is not None:
        settings = settings.with_network(options.network)
    _check_network(settings, changes)
    if "encoder" in changes and begun is None:
        settings = settings.with_network(settings.network, changes["encoder"])
    if options.validation is not None:
        changes["validation"] = _share(options.validation)
    if options.steps is not None:
        changes["minutes"] = 0.0
    elif options.minutes is not None:
        changes["steps"] = 0
    border = settings.border
    if options.border_scheme == "fiji":
        border = BorderWeights.fiji()
    changes["border"] = border.replace(
        **given_settings(options, BorderWeights, "border_")
    )
    changes["augmentation"] = settings.augmentation.replace(
        **given_settings(options, Augmentation, "augment_")
    )
    return settings.replace(**changes)


def _of_preset(options: argparse.Namespace, usual: Task) -> Training:
    """Return the preset for the task that is given, or else the usual one."""
    name = options.preset or "quick"
    preset = Training.automatic if name == AUTO else PRESETS[name]
    return preset(ndim=options.ndim).with_task(options.task or usual)


def _by_hand(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what no planner changes; without --3d it is open what images are."""
    names = {name for name in given if name != "ndim" or given["ndim"] == 3}
    if names & {"steps", "minutes"}:
        names |= {"steps", "minutes"}
    return tuple(sorted(names))


def _check_kept(file: Path, begun: Training, given: Mapping[str, Any]) -> None:
    """Refuse another network than that of the file which training begins with."""
    for name in OF_NETWORK:
        own = getattr(begun, name)
        if given.get(name, own) != own:
            raise ValueError(
                f"{file}: its {name} is {_written(own)}, so training that begins with "
                f"it cannot have --{name} {_written(given[name])}."
            )


def _check_network(settings: Training, given: Mapping[str, Any]) -> None:
    """Refuse what a network leaves no choice of."""
    entry, encoder = NETWORKS[settings.network], given.get("encoder", settings.encoder)
    if refusal := entry.refusal(settings.ndim, encoder=encoder):
        raise ValueError(refusal)
    title = entry.title
    if encoder == "imagenet":
        title += " with ImageNet's weights"
    for name, own in entry.settled(encoder).items():
        if given.get(name, own) != own:
            raise ValueError(
                f"--{name} cannot be {_written(given[name])}: of {title} it is "
                f"{_written(own)}."
            )


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _kept(checkpoint: Path, before: int | None) -> str:
    """Say what can be done after a run broke off; nothing that is not there."""
    now = _changed(checkpoint)
    if now is not None and now != before:
        return f"; go on with --resume ({checkpoint})."
    return " before the first step; nothing is kept of this run."


def _changed(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.exists() else None


def _take_part(job: Any) -> int:
    """Do a process's share of a training, of which the first shows and writes all."""
    with interruptible(job) as running:
        for _ in running:
            pass
    return 0


def follow(job: Any, line: ProgressLine, notes: Sequence[str] = ()) -> TrainingFinished:
    """Run a training job to its end and show how it goes.

    The notes, on what was chosen, are shown once it has begun: a refusal stands alone.
    """
    from napari_unet.core import events

    last: Event | None = None
    told = set[str]()
    with closing(follow_events(job, line, notes, told)) as shown:
        for event in shown:
            last = event
    if not isinstance(last, events.TrainingFinished):
        raise RuntimeError("training ended without a result")
    card = last.model.card
    _tell(line, (*card.notes, *map(str, card.training.decisions)), told)
    return last


def follow_events(
    job: Any,
    line: ProgressLine,
    notes: Sequence[str] = (),
    told: set[str] | None = None,
) -> Generator[Event, None, None]:
    """Pass the events of a training on, and show how it goes; `told` was said."""
    from napari_unet.core import events

    score, told = "", set() if told is None else told
    with interruptible(job) as running:
        for number, event in enumerate(running):
            if not number:
                for note in notes:
                    line.say(note)
            if isinstance(event, events.TrainingStarted):
                line.say(
                    f"training on {event.device} in {event.precision}; "
                    f"{event.validation}."
                )
                _tell(line, (*event.notes, *map(str, event.decisions)), told)
            elif isinstance(event, events.StepDone):
                text = f"step {event.step}  loss {event.loss:.3f}{score}"
                line.show(text, event.progress, event.seconds_left)
            elif isinstance(event, events.Judging):
                line.show("judging the model", 1.0)
            elif isinstance(event, events.ValidationDone):
                score = f"  validation {event.score.words}"
            yield event


def _tell(line: ProgressLine, notes: Sequence[str], told: set[str]) -> None:
    """Say what was not said before."""
    for note in notes:
        if note not in told:
            line.say(note)
            told.add(note)


def summary(output: Path, finished: TrainingFinished) -> dict[str, Any]:
    """Return what came out, for people and programs."""
    card = finished.model.card
    score = card.score
    outcome = f"{counted(finished.steps, 'step')} in {clock(finished.seconds)}"
    if score:
        pixels = counted(score.pixels, "held-out pixel")
        outcome += f", {score.words} on {pixels}"
    return {
        "model": str(output),
        "steps": finished.steps,
        "seconds": round(finished.seconds, 2),
        "device": card.device,
        "precision": card.precision,
        "validation": score.model_dump() if score else None,
        "networks": card.members,
        "decisions": [d.model_dump() for d in card.training.decisions],
        "problem": finished.problem,
        "verdict": finished.problem or outcome,
    }


def _share(text: str) -> float:
    if text == "none":
        return 0.0
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"--validation is a share between 0 and 0.5, or none; found {text!r}."
        ) from None
