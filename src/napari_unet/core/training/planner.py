"""The planner of *Automatic*: settings by the annotation and the machine.

The logic, and the bounds that do not depend on the kind of image, are those of nnU-Net
(Isensee et al., Nature Methods 2021): volumes only where slices are near enough, no
convolution between distant slices at full resolution, no more patches per step than 5 %
of the training data. Its depths, widths and budgets are made for medical volumes and
days of a GPU; here depth follows the cells, and width the minutes.

Each rule decides one setting and gives the reason with its number. A setting that a
person chose, or that the network determines, is kept, and later rules depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.text import counted
from napari_unet.core.training.decision import Decision
from napari_unet.core.training.patches import in_window, patch_size, why_not
from napari_unet.core.training.training_settings import Training

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.training.fingerprint import Fingerprint

# Conditions for volumes: least slices in the thinnest stack, annotated in a row, and
# through a cell; largest distance of slices in pixels; least minutes on a CPU.
_THICK, _IN_A_ROW, _SPAN, _FURTHEST, _MINUTES_3D = 8, 3, 3, 3.0, 30.0
# Distance of slices, in pixels, from which on the finest level is flat.
_FAR = 2.0
# Least minutes on a CPU for a wide network.
_MINUTES_WIDE = 15.0
# Conditions for an ensemble: least images and minutes in all; its networks.
_IMAGES_OF_FOLDS, _MINUTES_OF_FOLDS, _FOLDS = 6, 60.0, 3
# Cells that are wider or narrower than these are scaled to the other width, in pixels.
_WIDE, _NOT_WIDE = 60.0, 40.0
_NARROW, _NOT_NARROW = 8.0, 12.0
# Least change of the image size that is worth a candidate.
_WORTH_A_TRY = 1.25
# Least annotated share of planes: with less, narrow cells may be strokes.
_DENSE = 0.5
# Reach of the network as a share of a cell's diameter; most poolings.
_SEEN, _DEEPEST = 0.75, {2: 4, 3: 3}
# Least patch sizes of deeper networks, which lose more of the border.
_DEEP, _PATCH_OF_DEEP = 4, 180
# Smallest patch in pixels: of a smaller one nearly all would be border.
_SMALLEST_PATCH = 16
# Largest share of the annotated pixels in a step; factor of patches on a GPU; largest
# share of the free memory for them.
_OF_ALL, _MORE_ON_GPU, _OF_MEMORY = 0.05, 4, 0.5
# However small they are.
_MOST_PATCHES = 32
# Share of the annotated pixels below which a class is rare and weighs more.
_RARE, _BALANCE = 0.02, 0.5

_LINKED = "each slice is segmented by itself, and cells are linked through slices"


@dataclass(frozen=True, slots=True)
class Machine:
    """The device and its memory."""

    # kind of device: cpu, cuda or mps
    device: str
    # free, in bytes
    memory: int

    @property
    def name(self) -> str:
        """For people."""
        return "a CPU" if self.device == "cpu" else "a GPU"


def plan(
    found: Fingerprint,
    machine: Machine,
    asked: Training,
    tried: Decision | None = None,
) -> Training:
    """Choose the settings that a person did not choose, and record the decisions.

    The budget is never changed. `tried` is decided already, if possible. A ValueError
    says that the requested network is impossible for such images.
    """
    entry = NETWORKS[asked.network]
    kept = {*asked.by_hand, *entry.settled(asked.encoder)}
    settings, decisions = asked.replace(decisions=()), []
    for field, rule in _RULES.items():
        if field in kept or field in entry.recipe.get(settings.ndim, {}):
            continue
        # whether volumes do is asked of volumes at that size
        ndim = 3 if field == "ndim" else settings.ndim
        seen = found.resized(settings.scale, ndim)
        decision = rule(seen, machine, settings)
        if tried is not None and field == tried.field:
            decision = tried
        if decision is None:
            continue
        settings = settings.replace(**{field: decision.value})
        if field == "ndim":
            settings = _sized(settings)
        decisions.append(decision)
    return settings.replace(decisions=tuple(decisions))


def candidates(
    found: Fingerprint, machine: Machine, asked: Training
) -> tuple[Training, ...]:
    """Return the candidates to train: the plan, then others.

    Volumes in place of slices or vice versa, and another size of the images, each if it
    is possible and not chosen by a person.
    """
    usual = plan(found, machine, asked)
    others = [_other_ndim(found, usual), _other_size(found, usual)]
    plans = [usual]
    for other in others:
        if other is not None:
            one = plan(found, machine, asked, other)
            if getattr(one, other.field) == other.value:
                plans.append(one)
    return tuple(plans)


def _other_ndim(found: Fingerprint, usual: Training) -> Decision | None:
    deep = found.slices >= _THICK and found.neighbours >= _IN_A_ROW
    if not deep or NETWORKS[usual.network].refusal(3):
        return None
    value, words = (2, "slices") if usual.ndim == 3 else (3, "volumes")
    reason = f"With {found.slices} slices it is tried whether {words} are better."
    return Decision(field="ndim", value=value, reason=reason)


def _other_size(found: Fingerprint, usual: Training) -> Decision | None:
    """Return the other image size: unscaled if the plan scales, else scaled."""
    if usual.scale != 1:
        value: float | None = 1.0
    else:
        value = _other_scale(found, usual.ndim)
        if value is None or 1 / _WORTH_A_TRY < value < _WORTH_A_TRY:
            return None
    reason = f"Cells are {found.diameter or 0:.3g} pixels wide: it is tried whether "
    reason += f"images of {value:g} times the size are better."
    return Decision(field="scale", value=value, reason=reason)


def _sized(asked: Training) -> Training:
    """Take the sizes of the preset for slices or volumes, except those by hand."""
    usual = Training.quick(asked.ndim)
    sizes = {name: getattr(usual, name) for name in ("depth", "batch", "patch")}
    settings = asked.replace(**sizes).with_network(asked.network, asked.encoder)
    return settings.replace(**{name: getattr(asked, name) for name in asked.by_hand})


def _folds(found: Fingerprint, _: Machine, settings: Training) -> Decision | None:
    images, minutes = len(found.sizes), settings.minutes
    if settings.try_both or minutes < _MINUTES_OF_FOLDS or images < _IMAGES_OF_FOLDS:
        return None
    return Decision(
        field="folds",
        value=_FOLDS,
        reason=f"{images} images and {minutes:g} minutes are enough for {_FOLDS} "
        f"networks of {minutes / _FOLDS:.3g} minutes, each trained without another "
        "third of the images: the model says their mean.",
        alternatives=("1",),
    )


def _minutes(settings: Training) -> float:
    """Return the budget of each network."""
    return settings.minutes / settings.folds


def _time(machine: Machine, settings: Training) -> str:
    """Return the budget of each network, in words."""
    each = " for each network" if settings.folds > 1 or settings.try_both else ""
    if settings.steps:
        steps = -(-settings.steps // settings.folds)
        return f"{counted(steps, 'step')} on {machine.name}{each}"
    return f"{_minutes(settings):.3g} minutes of {machine.name}{each}"


def _ndim(found: Fingerprint, machine: Machine, settings: Training) -> Decision | None:
    thickest = max(z for z, _, _ in found.sizes)
    if thickest == 1 or NETWORKS[settings.network].refusal(3):
        return None
    if against := _against_volumes(found, machine, settings):
        return Decision(
            field="ndim",
            value=2,
            reason=f"{against}: {_LINKED}.",
            alternatives=("3 (volumes)",),
        )
    return Decision(
        field="ndim",
        value=3,
        reason=f"{_distance(found)}, and {found.neighbours} in a row are annotated: "
        "the network sees volumes.",
        alternatives=("2 (slices)",),
    )


def _against_volumes(found: Fingerprint, machine: Machine, settings: Training) -> str:
    """Return the reason against volumes, as the beginning of a sentence, or nothing."""
    seen = _at_size(settings)
    if found.slices < _THICK:
        slices = counted(found.slices, "slice")
        return f"The thinnest image has {slices}{seen}, volumes take {_THICK}"
    if found.neighbours < _IN_A_ROW:
        slices = counted(found.neighbours, "slice is", "slices are")
        return f"At most {slices} annotated in a row{seen}, volumes take {_IN_A_ROW}"
    if found.span is not None and found.span < _SPAN:
        slices = counted(round(found.span), "slice")
        return f"A cell shows in {slices} with the same id{seen}, volumes take {_SPAN}"
    apart = _apart(found)
    if apart is None:
        return f"How far apart the {found.slices} slices are is not known"
    if apart > _FURTHEST:
        return f"{_distance(found)}, volumes take {_FURTHEST:g} times at the most"
    if machine.device == "cpu" and 0 < _minutes(settings) < _MINUTES_3D:
        return f"There are {_time(machine, settings)}, volumes take {_MINUTES_3D:g}"
    return ""


def _at_size(settings: Training) -> str:
    """Return at which image size pixels are counted, in words; empty at their own."""
    return "" if settings.scale == 1 else f" at {settings.scale:g} times the size"


def _apart(found: Fingerprint) -> float | None:
    """Return the distance of slices in pixels, from the pixel size or from cells."""
    if found.step is not None or found.diameter is None or not found.span:
        return found.step
    return found.diameter / found.span


def _distance(found: Fingerprint) -> str:
    """Return the distance of slices, in words."""
    times = f"{_apart(found):.2g} times "
    apart = f"{'' if times == '1 times ' else times}as far apart as pixels"
    if found.step is not None:
        return f"Slices are {apart}"
    return (
        f"Cells are {found.diameter:.0f} pixels wide and show in {found.span:g} "
        f"slices, so these are about {apart}"
    )


def _scale(found: Fingerprint, _: Machine, settings: Training) -> Decision | None:
    return _resized(found, settings)


def _resized(found: Fingerprint, settings: Training) -> Decision | None:
    """Scale images so that the network sees whole cells with few poolings."""
    width = found.diameter
    if width is None or _NARROW <= width <= _WIDE:
        return None
    value = _other_scale(found, settings.ndim)
    if value is None:
        return None
    how = f"shrunk to {value:g} of their size, and sees more around each"
    if value > 1:
        how = f"enlarged {value:g} times, as it sees little in so few pixels"
    return Decision(
        field="scale",
        value=value,
        reason=f"Cells are {width:.3g} pixels wide: the network works on images {how}.",
        alternatives=("1 (as they are)",),
    )


def _other_scale(found: Fingerprint, ndim: int) -> float | None:
    """Return the scale that brings cells to a usual width; None if there is none."""
    width = found.diameter
    if width is None or _NOT_NARROW <= width <= _NOT_WIDE:
        return None
    if width < _NOT_NARROW and found.annotated < _DENSE * (found.area or float("inf")):
        return None
    usual = _NOT_NARROW if width < _NOT_NARROW else _NOT_WIDE
    value = min(max(float(f"{usual / width:.2g}"), 0.1), 4.0)
    if ndim == 2:
        return value
    # enlarged volumes cost too much, and shrunk ones must not be too thin
    thick = found.slices * value >= _THICK and (found.span or 0) * value >= _SPAN
    return value if value < 1 and thick else None


def shrunk(found: Fingerprint, settings: Training) -> Training:
    """Return settings that are not planned with the planner's smaller image size.

    For slices whose cells are so wide that the network sees less than three quarters of
    one around each. The decision is recorded.
    """
    decision, network = _resized(found, settings), _network(found, settings)
    if decision is None or network.sees_window:
        return settings
    decisions = *settings.decisions, decision
    other = settings.replace(scale=decision.value, decisions=decisions)
    sees_little = network.halo[-1] < _SEEN * (found.diameter or 0)
    return other if other.scale < 1 and sees_little else settings


def _base(settings: Training) -> Training:
    """Return the preset of the width that was chosen."""
    quick = Training.quick(settings.ndim)
    return Training.accurate(settings.ndim) if settings.width > quick.width else quick


def _width(_: Fingerprint, machine: Machine, settings: Training) -> Decision:
    small, wide = (p(settings.ndim).width for p in (Training.quick, Training.accurate))
    time = _time(machine, settings)
    if machine.device != "cpu" or _minutes(settings) >= _MINUTES_WIDE:
        width, other = wide, small
        reason = f"{time} are enough for a wide network."
    else:
        width, other = small, wide
        reason = (
            f"{time} are for a small network, which takes more steps; from "
            f"{_MINUTES_WIDE:g} minutes on it is wider."
        )
    return Decision(
        field="width", value=width, reason=reason, alternatives=(str(other),)
    )


def _learning_rate(_: Fingerprint, __: Machine, settings: Training) -> Decision | None:
    rate = _base(settings).learning_rate
    usual = Training.quick(settings.ndim)
    if rate == usual.learning_rate:
        return None
    return Decision(
        field="learning_rate",
        value=rate,
        reason=f"A network of {settings.width} channels learns in smaller steps than "
        f"one of {usual.width}.",
        alternatives=(f"{usual.learning_rate:g}",),
    )


def _flat(found: Fingerprint, _: Machine, settings: Training) -> Decision | None:
    if settings.ndim == 2 or found.step is None or found.step < _FAR:
        return None
    return Decision(
        field="flat",
        value=1,
        reason=f"Slices are {found.step:.2g} times as far apart as pixels: at full "
        "resolution nothing is mixed between them.",
        alternatives=("0 (mixed at once)",),
    )


def _depth(found: Fingerprint, machine: Machine, settings: Training) -> Decision | None:
    """Choose the fewest poolings that show enough; no fewer than the preset has."""
    fewest, most = _base(settings).depth, _DEEPEST[settings.ndim]
    if found.diameter is None:
        return Decision(
            field="depth",
            value=fewest,
            reason=f"There are no cells to measure: {fewest} are usual for a network "
            f"of {settings.width} channels.",
        )
    if settings.ndim == 3 and machine.device == "cpu":
        most = fewest
    seen = {}
    for depth in range(fewest, most + 1):
        network = _network(found, settings.replace(depth=depth))
        if network.sees_window:
            return None
        seen[depth] = network.halo[-1]
    wanted = _SEEN * found.diameter
    depth = next((d for d, halo in seen.items() if halo >= wanted), most)
    least = f", the fewest at {settings.width} channels," if depth == fewest else ""
    reason = (
        f"Cells are {found.diameter:.0f} pixels wide{_at_size(settings)}: "
        f"with {counted(depth, 'pooling')}{least} the network sees "
        f"{seen[depth]} pixels around each"
    )
    if seen[depth] < wanted:
        reason += f", less than three quarters of a cell ({wanted:.0f}); images that "
        reason += "are shrunk beforehand would show more"
    return Decision(
        field="depth",
        value=depth,
        reason=f"{reason}.",
        alternatives=tuple(f"{d} ({n} pixels)" for d, n in seen.items() if d != depth),
    )


def _patch(found: Fingerprint, _: Machine, settings: Training) -> Decision:
    usual = _base(settings).patch
    if settings.ndim == 2 and settings.depth >= _DEEP:
        usual = max(usual, _PATCH_OF_DEEP)
    side = min(min(y, x) for _, y, x in found.sizes)
    patch = min(usual, max(side, _SMALLEST_PATCH))
    usual_for = f"the usual {usual} for {counted(settings.depth, 'pooling')}"
    seen = f"{side} pixels{_at_size(settings)}"
    if patch < usual:
        reason = f"The smallest image has {seen}, less than {usual_for}"
    else:
        reason = f"It is {usual_for}, and the smallest image has {seen}"
    return Decision(
        field="patch",
        value=patch,
        reason=f"{reason}.",
        alternatives=(str(usual),) if patch < usual else (),
    )


def _batch(found: Fingerprint, machine: Machine, settings: Training) -> Decision | None:
    """Choose as many patches as the annotation is worth and the memory holds."""
    if why_not(settings, found.channels, len(found.pixels), found.slices):
        return None  # the training will say it
    base, ndim = _base(settings), settings.ndim
    more = 1 if machine.device == "cpu" else _MORE_ON_GPU
    # fewer gave worse cells than they gave more steps (docs/recipe.md)
    least = base.batch
    # as many pixels as the preset's
    usual = more * base.batch * (base.patch / settings.patch) ** ndim
    most = min(max(round(usual), least), _MOST_PATCHES)
    network = in_window(_network(found, settings), settings, found.slices)
    output = patch_size(network, settings.patch, found.slices)
    worth = _OF_ALL * found.annotated / prod(output)
    kept = 4 * network.trace.kept_values(output)  # bytes of a patch, at the least
    held = int(_OF_MEMORY * machine.memory / kept)
    wanted = min(max(round(worth), least), most)
    batch = max(min(wanted, held), min(2, least))
    count = f"{least} to {most}" if most > least else f"{most}"
    reason = (
        f"{100 * _OF_ALL:g} % of the {found.annotated} annotated pixels"
        f"{_at_size(settings)} are {worth:.1f} patches; a step takes {count} on "
        f"{machine.name}"
    )
    if held < wanted:
        reason += f", and {machine.memory / 1e9:.1f} GB of memory hold {held}"
    return Decision(field="batch", value=batch, reason=f"{reason}.")


def _class_balance(
    found: Fingerprint, _: Machine, settings: Training
) -> Decision | None:
    """Weigh rare classes more; one class alone has its share of the patches."""
    there = [
        (count / found.annotated, info.name)
        for count, info in zip(found.pixels[1:], found.classes, strict=True)
        if count
    ]
    share, name = min(there, default=(1.0, ""))
    if len(there) < 2 or share >= _RARE or settings.border.scheme == "fiji":
        return None
    return Decision(
        field="class_balance",
        value=_BALANCE,
        reason=f"Class {name} has {100 * share:.2g} % of the annotated pixels, less "
        f"than {100 * _RARE:g} %: a rare class weighs more.",
        alternatives=("0 (all pixels alike)",),
    )


def _network(found: Fingerprint, settings: Training) -> Layered:
    return settings.architecture(found.channels, len(found.pixels), found.slices)


# The setting that each decides; each goes by what those before it decided.
_RULES: Mapping[str, Callable[[Fingerprint, Machine, Training], Decision | None]] = {
    "folds": _folds,
    "ndim": _ndim,
    "scale": _scale,
    "width": _width,
    "learning_rate": _learning_rate,
    "flat": _flat,
    "depth": _depth,
    "patch": _patch,
    "batch": _batch,
    "class_balance": _class_balance,
}
