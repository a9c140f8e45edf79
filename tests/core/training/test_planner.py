"""What the planner makes of data: a table of fingerprints and the plan of each."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.decision import Decision
from napari_unet.core.training.fingerprint import Fingerprint
from napari_unet.core.training.patches import why_not
from napari_unet.core.training.planner import Machine, candidates, plan
from napari_unet.core.training.training_settings import AUTO, OF_NETWORK, Training

CPU, GPU = Machine("cpu", 8 * 10**9), Machine("cuda", 80 * 10**9)
CELLS = (ClassInfo(),)
# ten fields of nuclei; one of large cells; a few strokes; many small crops
NUCLEI = Fingerprint(1, CELLS, ((1, 520, 696),) * 10, (2_900_000, 700_000), 28, 1)
FIVE = replace(NUCLEI, sizes=NUCLEI.sizes[:5])
LARGE = Fingerprint(1, CELLS, ((1, 1024, 1024),), (900_000, 140_000), 85, 1)
HUGE = replace(LARGE, diameter=185)
SMALL = Fingerprint(
    1, CELLS, ((1, 520, 696),) * 3, (800_000, 200_000), 6, 1, area=1_085_760
)
STROKES = Fingerprint(1, CELLS, ((1, 520, 696),), (9_000, 3_000), 8, 1)
CROPS = Fingerprint(3, CELLS, ((1, 64, 80),) * 60, (240_000, 60_000), 12, 1)
# isotropic stacks with all slices annotated
STACKS = Fingerprint(
    1, CELLS, ((30, 256, 256),) * 2, (3_500_000, 400_000), 24, 18, 30, 1.0
)
REGIONS = Fingerprint(
    1,
    (ClassInfo(name="tissue", kind="regions"), ClassInfo(name="lumen", kind="regions")),
    ((1, 800, 600),) * 3,
    (700_000, 600_000, 10_000),
)

TABLE: list[tuple[str, Fingerprint, Machine, dict[str, Any], dict[str, Any]]] = [
    (
        "nuclei, minutes",
        NUCLEI,
        CPU,
        {},
        {"width": 16, "depth": 3, "patch": 100, "batch": 4},
    ),
    (
        "nuclei, an hour",
        NUCLEI,
        CPU,
        {"minutes": 60.0},
        # of 20 minutes each
        {"folds": 3, "width": 32, "depth": 4, "patch": 180, "learning_rate": 2e-3},
    ),
    (
        "nuclei, an hour for one network",
        NUCLEI,
        CPU,
        {"minutes": 60.0, "folds": 1},
        {"width": 32, "depth": 4, "patch": 180, "batch": 2, "learning_rate": 2e-3},
    ),
    ("five images, an hour", FIVE, CPU, {"minutes": 60.0}, {"folds": 1}),
    (
        "thirty images, half an hour",
        replace(NUCLEI, sizes=((1, 520, 696),) * 30),
        CPU,
        {"minutes": 30.0},
        {"folds": 1, "width": 32},
    ),
    (
        "nuclei, a GPU",
        NUCLEI,
        GPU,
        {},
        # 5 % of 3.6 million pixels are 5.6 patches
        {"width": 32, "depth": 4, "patch": 180, "batch": 6, "learning_rate": 2e-3},
    ),
    # 40 of 85 pixels; of 5 % of what is left of the million
    ("large cells", LARGE, CPU, {}, {"scale": 0.47, "depth": 3, "batch": 4}),
    ("huge cells", HUGE, CPU, {}, {"scale": 0.22, "depth": 3, "batch": 4}),
    ("... as they are", HUGE, CPU, {"scale": 1.0}, {"depth": 4, "patch": 180}),
    ("cells of 6 pixels", SMALL, CPU, {}, {"scale": 2.0, "depth": 3}),
    ("strokes of 6 pixels", replace(SMALL, area=10**8), CPU, {}, {"scale": 1.0}),
    ("specks", replace(SMALL, diameter=2), CPU, {}, {"scale": 4.0}),
    ("strokes", STROKES, CPU, {}, {"depth": 3, "patch": 100, "batch": 4}),
    # 40,000 pixels a step are ten patches, 5 % of the annotated 3.2 of 68 pixels
    ("small crops", CROPS, CPU, {}, {"depth": 3, "patch": 64, "batch": 4}),
    ("stacks, minutes", STACKS, CPU, {}, {"ndim": 2, "depth": 3, "patch": 100}),
    (
        "stacks, an hour",
        STACKS,
        CPU,
        {"minutes": 60.0},
        {"ndim": 3, "width": 24, "depth": 2, "patch": 44, "batch": 1},
    ),
    (
        "stacks, a GPU",
        STACKS,
        GPU,
        {},
        {"ndim": 3, "width": 24, "depth": 2, "flat": 0, "patch": 44, "batch": 3},
    ),
    (
        "stacks of large cells, a GPU",
        replace(STACKS, diameter=50),
        GPU,
        {},
        {"ndim": 3, "depth": 3},
    ),
    (
        "stacks of huge cells, a GPU",
        replace(STACKS, sizes=((80, 900, 900),) * 2, diameter=100, span=70),
        GPU,
        {},
        {"ndim": 3, "scale": 0.4, "depth": 3},
    ),
    (
        "... that are flat, shrunk no more than they bear",
        replace(STACKS, sizes=((20, 900, 900),) * 2, diameter=100, span=9),
        GPU,
        {},
        # 40 % of 9 slices are three, of 20 eight
        {"ndim": 3, "scale": 0.4},
    ),
    (
        "... and fewer slices",
        replace(STACKS, sizes=((19, 900, 900),) * 2, diameter=100, span=9),
        GPU,
        {},
        {"ndim": 3, "scale": 1.0},
    ),
    (
        "slices twice as far apart as pixels",
        replace(STACKS, step=2.0),
        GPU,
        {},
        {"ndim": 3, "flat": 1},
    ),
    ("distant slices", replace(STACKS, step=5.0), GPU, {}, {"ndim": 2, "depth": 4}),
    ("few slices", replace(STACKS, sizes=((7, 256, 256),)), GPU, {}, {"ndim": 2}),
    ("every second slice", replace(STACKS, neighbours=1), GPU, {}, {"ndim": 2}),
    ("ids of each slice", replace(STACKS, span=1), GPU, {}, {"ndim": 2}),
    ("distance told by cells", replace(STACKS, step=None), GPU, {}, {"ndim": 3}),
    ("... that are flat", replace(STACKS, step=None, span=4), GPU, {}, {"ndim": 2}),
    (
        "distance unknown",
        replace(STACKS, step=None, span=None, diameter=None),
        GPU,
        {},
        {"ndim": 2},
    ),
    (
        "regions, one of them rare",
        REGIONS,
        CPU,
        {},
        {"depth": 3, "patch": 100, "class_balance": 0.5},
    ),
    ("little memory", NUCLEI, Machine("cuda", 4 * 10**8), {}, {"batch": 2}),
]


@pytest.mark.parametrize(
    ("found", "machine", "by_hand", "wanted"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_data_leads_to_its_plan(
    found: Fingerprint,
    machine: Machine,
    by_hand: dict[str, Any],
    wanted: dict[str, Any],
) -> None:
    asked = Training.automatic(**by_hand)
    settings = plan(found, machine, asked)
    assert {name: getattr(settings, name) for name in wanted} == wanted
    decided = {d.field: d.value for d in settings.decisions}
    assert len(decided) == len(settings.decisions)
    assert {name: getattr(settings, name) for name in decided} == decided
    # nothing else is another than the presets have it
    usual = Training.quick(settings.ndim)
    for name in Training.model_fields:
        if name not in {*decided, *by_hand, "preset", "by_hand", "decisions", "ndim"}:
            assert getattr(settings, name) == getattr(usual, name), name
    assert settings.preset == AUTO
    assert not settings.is_unplanned
    for decision in settings.decisions:
        assert re.search(r"\d", decision.reason), decision
        assert decision.reason.endswith(".")
        assert str(decision.value) not in decision.alternatives
    assert Training.model_validate_json(settings.model_dump_json()) == settings
    # a network that can be had, and the same plan when it is asked for again
    settings.architecture(found.channels, len(found.pixels), found.slices)
    assert plan(found, machine, asked) == settings


REASONS = [
    (NUCLEI, CPU, "width", "5 minutes of a CPU"),
    (NUCLEI, GPU, "width", "5 minutes of a GPU"),
    (NUCLEI, CPU, "depth", "28 pixels wide"),
    (HUGE, CPU, "scale", r"185 pixels wide: .* shrunk to 0\.22"),
    (SMALL, CPU, "scale", r"6 pixels wide: .* enlarged 2 times"),
    (HUGE, CPU, "depth", r"41 pixels wide at 0\.22 times the size: with 3 poolings"),
    (HUGE, CPU, "patch", r"has 225 pixels at 0\.22 times the size"),
    (HUGE, CPU, "batch", r"50336 annotated pixels at 0\.22 times the size"),
    (REGIONS, CPU, "depth", "16 channels"),
    (CROPS, CPU, "patch", "64 pixels"),
    (STROKES, CPU, "batch", "12000 annotated pixels"),
    (NUCLEI, Machine("cuda", 4 * 10**8), "batch", "0.4 GB of memory hold 2"),
    (REGIONS, CPU, "class_balance", r"lumen has 0\.76 %"),
    (STACKS, CPU, "ndim", "5 minutes of a CPU, volumes take 30"),
    (STACKS, GPU, "ndim", "30 in a row"),
    (replace(STACKS, step=5.0), GPU, "ndim", "5 times as far apart"),
    (replace(STACKS, step=None, span=4), GPU, "ndim", "about 6 times"),
    (replace(STACKS, sizes=((7, 99, 99),)), GPU, "ndim", "7 slices, volumes take 8"),
    (replace(STACKS, neighbours=2), GPU, "ndim", "2 slices are annotated in a row"),
    (replace(STACKS, span=2), GPU, "ndim", "shows in 2 slices"),
    (
        replace(STACKS, step=None, span=None, diameter=None),
        GPU,
        "ndim",
        "How far apart the 30 slices are is not known",
    ),
    (replace(STACKS, step=2.5), GPU, "flat", "2.5 times as far apart"),
]


@pytest.mark.parametrize(("found", "machine", "field", "words"), REASONS)
def test_the_reason_has_the_number_that_decided(
    found: Fingerprint, machine: Machine, field: str, words: str
) -> None:
    decisions = plan(found, machine, Training.automatic()).decisions
    (decision,) = (d for d in decisions if d.field == field)
    assert re.search(words, decision.reason), decision.reason


def test_the_time_is_that_of_each_network() -> None:
    def why(**by_hand: Any) -> str:
        settings = plan(NUCLEI, CPU, Training.automatic(**by_hand))
        return next(d.reason for d in settings.decisions if d.field == "width")

    each = "minutes of a CPU for each network are"
    assert why(minutes=100.0, folds=3).startswith(f"33.3 {each} enough")
    assert why(minutes=20.0, folds=2).startswith(f"10 {each} for a small network")
    steps = why(steps=100, minutes=0.0, folds=3)
    assert steps.startswith("34 steps on a CPU for each network are")
    assert why().startswith("5 minutes of a CPU are for")


def test_volumes_of_a_size_that_a_person_chose_are_scaled_along_all_axes() -> None:
    stacks = replace(STACKS, sizes=((30, 400, 400),), step=2.0)
    asked = Training.automatic(scale=0.5)
    settings = plan(stacks, GPU, asked)
    assert (settings.ndim, settings.scale) == (3, 0.5)
    reasons = {d.field: d.reason for d in settings.decisions}
    assert reasons["ndim"].startswith("Slices are 2 times as far apart as pixels")
    # 30 slices are 15 for the network, and of 14 there are 7
    thin = plan(replace(stacks, sizes=((14, 400, 400),)), GPU, asked)
    assert thin.ndim == 2
    assert "7 slices at 0.5 times the size" in thin.decisions[0].reason


def _random_fingerprint(rng: np.random.Generator) -> Fingerprint:
    z = int(rng.choice([1, 3, 8, 40]))
    sizes = tuple(
        (z, *rng.integers(20, 1500, 2).tolist()) for _ in range(rng.integers(1, 4))
    )
    cells = rng.random() < 0.8
    return Fingerprint(
        channels=int(rng.integers(1, 4)),
        classes=CELLS,
        sizes=sizes,
        pixels=(int(rng.integers(1, 10**7)), int(rng.integers(0, 10**6))),
        diameter=float(rng.uniform(2, 300)) if cells else None,
        span=float(rng.integers(1, z + 1)) if cells else None,
        neighbours=int(rng.integers(1, z + 1)),
        step=float(rng.uniform(0.3, 8)) if z > 1 and rng.random() < 0.8 else None,
    )


def test_a_network_for_images_as_they_are_sees_less_than_huge_cells() -> None:
    settings = plan(HUGE, CPU, Training.automatic(scale=1.0))
    (depth,) = (d for d in settings.decisions if d.field == "depth")
    assert "three quarters of a cell (139)" in depth.reason


def test_networks_of_folds_say_why() -> None:
    settings = plan(NUCLEI, CPU, Training.automatic(minutes=90.0))
    (folds,) = (d for d in settings.decisions if d.field == "folds")
    assert folds.reason.startswith("10 images and 90 minutes are enough for 3 networks")
    (width,) = (d for d in settings.decisions if d.field == "width")
    assert "30 minutes of a CPU" in width.reason
    assert settings.minutes == 90


TRIED: list[tuple[str, Fingerprint, dict[str, Any], list[tuple[int, float]]]] = [
    ("nothing", NUCLEI, {}, [(2, 1.0)]),
    ("huge cells", HUGE, {}, [(2, 0.22), (2, 1.0)]),
    # a size that is not needed, yet perhaps better
    ("wide cells", replace(NUCLEI, diameter=55), {}, [(2, 1.0), (2, 0.73)]),
    ("stacks", STACKS, {}, [(2, 1.0), (3, 1.0)]),
    ("few slices", replace(STACKS, sizes=((7, 256, 256),)), {}, [(2, 1.0)]),
    ("stacks, 3-D by hand", STACKS, {"ndim": 3}, [(3, 1.0)]),
    ("huge cells, as they are by hand", HUGE, {"scale": 1.0}, [(2, 1.0)]),
    (
        "stacks of large cells",
        replace(STACKS, sizes=((80, 900, 900),), diameter=100, span=70),
        {},
        [(2, 0.4), (3, 0.4), (2, 1.0)],
    ),
    ("networks for planes", STACKS, {"network": "fcn8"}, [(2, 1.0)]),
]


@pytest.mark.parametrize(
    ("found", "by_hand", "wanted"),
    [row[1:] for row in TRIED],
    ids=[r[0] for r in TRIED],
)
def test_what_is_worth_a_try(
    found: Fingerprint, by_hand: dict[str, Any], wanted: list[tuple[int, float]]
) -> None:
    asked = Training.automatic(try_both=True, **by_hand)
    asked = asked.with_network(asked.network)
    plans = candidates(found, CPU, asked)
    assert [(one.ndim, one.scale) for one in plans] == wanted
    assert plans[0] == plan(found, CPU, asked)
    for one in plans:
        one.architecture(found.channels, len(found.pixels), found.slices)
        assert one.folds == 1


BY_HAND: dict[str, list[Any]] = {
    "ndim": [2, 3],
    "width": [4, 24, 64],
    "depth": [1, 2, 3],
    "batch": [1, 3, 9],
    "patch": [40, 120],
    "learning_rate": [1e-4],
    "class_balance": [0.1],
    "flat": [0, 1],
    "scale": [0.5, 1.0, 2.0],
    "folds": [1, 4],
    "minutes": [1.0, 40.0],
    "steps": [70],
    "border": [BorderWeights.fiji()],
    "network": ["unet", "nnunet", "attention", "unetr", "fcn8"],
}


@pytest.mark.parametrize("seed", range(40))
def test_what_a_person_chose_is_left_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = rng.choice(list(BY_HAND), rng.integers(0, 5), replace=False).tolist()
    by_hand = {name: BY_HAND[name][rng.integers(len(BY_HAND[name]))] for name in names}
    if "steps" in by_hand:
        by_hand.pop("minutes", None)
    asked = Training.automatic(**by_hand)
    asked = asked.with_network(asked.network).replace(**by_hand)
    entry = NETWORKS[asked.network]
    if entry.refusal(asked.ndim):
        with pytest.raises(ValueError, match="is for slices"):
            plan(_random_fingerprint(rng), CPU, asked)
        return
    found, machine = _random_fingerprint(rng), (CPU, GPU)[rng.integers(2)]
    settings = plan(found, machine, asked)
    assert {name: getattr(settings, name) for name in by_hand} == by_hand
    assert settings.by_hand == asked.by_hand
    for name in entry.settled():
        assert getattr(settings, name) == getattr(asked, name)
    for name, value in entry.recipe.get(settings.ndim, {}).items():
        assert getattr(settings, name) == by_hand.get(name, value)
    decided = {d.field for d in settings.decisions}
    assert not decided & {
        *by_hand,
        *entry.settled(),
        *entry.recipe.get(settings.ndim, {}),
    }
    settings.architecture(found.channels, 2, found.slices)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("by_hand", [{"norm": "instance"}, {"padded": True}])
def test_networks_that_see_windows_are_planned_too(
    by_hand: dict[str, Any], ndim: int
) -> None:
    found = STACKS if ndim == 3 else NUCLEI
    settings = plan(found, GPU, Training.automatic(ndim=ndim, **by_hand))
    decided = {d.field: d.value for d in settings.decisions}
    # by no halo can depths be told apart
    assert "depth" not in decided
    assert {"width", "patch", "batch"} <= decided.keys()
    assert not why_not(settings, found.channels, 2, found.slices)


def test_a_network_that_cannot_learn_is_no_matter_of_the_planner() -> None:
    asked = Training.automatic(ndim=3, norm="instance")
    settings = plan(NUCLEI, CPU, asked)
    assert "batch" not in {d.field for d in settings.decisions}
    assert "stacks of 2 slices" in why_not(settings, 1, 2, NUCLEI.slices)


def test_what_has_no_classes_is_not_planned() -> None:
    with pytest.raises(ValueError, match="segment alone; found task denoise"):
        Training.automatic().with_task("denoise")
    with pytest.raises(ValueError, match="segment alone; found task regress"):
        Training.automatic(task="regress")


def test_only_settings_can_be_chosen() -> None:
    with pytest.raises(ValueError, match="name settings, found colour"):
        Training(by_hand=("colour",))
    with pytest.raises(ValueError, match="name settings, found shape"):
        Training(decisions=(Decision(field="shape", value=1, reason="Of 1."),))


def test_what_is_changed_by_hand_afterwards_is_no_decision_any_more() -> None:
    planned = plan(NUCLEI, CPU, Training.automatic())
    changed = planned.chosen(patch=64)
    assert (changed.patch, changed.by_hand) == (64, ("patch",))
    assert [d.field for d in changed.decisions] == ["width", "depth", "batch"]
    assert plan(NUCLEI, CPU, changed).patch == 64
    assert Training.quick().chosen(patch=64) == Training(patch=64)


def test_flat_levels_mix_nothing_across_slices() -> None:
    stacks = Training.quick(3).replace(flat=1)
    table = stacks.architecture(1, 2, 64)
    assert [level.kernel for level in table.levels] == [(1, 3, 3), (3, 3, 3), (3, 3, 3)]
    assert [level.pool for level in table.levels] == [(1, 2, 2), (2, 2, 2), (1, 1, 1)]
    # thin stacks have more of them, and none is more than there are
    assert stacks.architecture(1, 2, 8).levels[1].pool == (1, 2, 2)
    every = stacks.replace(flat=7).architecture(1, 2, 64)
    assert [level.pool[0] for level in every.levels] == [1, 1, 1]
    assert "flat" in OF_NETWORK
    assert stacks.is_later
    assert not Training.quick(3).is_later
