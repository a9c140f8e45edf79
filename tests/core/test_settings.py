from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.model import ImageRecord, ModelCard, Progress, Score
from napari_unet.core.network.architecture import Architecture, paper, u_shape
from napari_unet.core.settings import (
    BorderWeights,
    Prediction,
    Segmentation,
    Settings,
    explain,
)
from napari_unet.core.training.training_settings import PRESETS, Augmentation, Training
from published_networks import unet3d

FORMS = [BorderWeights, Segmentation, Prediction, Augmentation, Training]
SCORE = Score(loss=0.25, iou=0.875, pixels=4096)
CARD = ModelCard(
    name="nuclei, day 2",
    architecture=u_shape(
        ndim=3, channels=2, classes=3, width=4, depth=2, flat=(1, 0, 0), norm="batch"
    ),
    classes=(ClassInfo(name="Zellkern"), ClassInfo(name="tissue", kind="regions")),
    spacing_um=(0.5, 0.1, 0.1),
    training=Training(ndim=3, steps=100, minutes=0),
    images=(ImageRecord(name="a.tif", sha256="00ff", annotated=7),),
    history=(
        Progress(step=1, seconds=0.5, loss=0.7),
        Progress(step=2, seconds=1.0, loss=0.3, score=SCORE),
    ),
    score=SCORE,
    parent="nuclei, day 1",
)


@pytest.mark.parametrize(
    "settings",
    [
        *(form() for form in FORMS),
        BorderWeights.fiji(),
        Training.paper(),
        Prediction(tile=512, averaging="dihedral", device="cuda:1", precision="bf16"),
        paper(),
        unet3d(),
        CARD,
    ],
)
def test_settings_come_back_from_json_as_they_were(settings: Settings) -> None:
    written = settings.model_dump_json()
    assert type(settings).model_validate_json(written) == settings
    # as the model file reads them, and as other tools may
    assert type(settings).model_validate(json.loads(written)) == settings
    assert json.loads(written) == settings.model_dump(mode="json")


def test_sizes_that_were_asked_for_do_not_make_an_architecture_another() -> None:
    used, fresh = paper(), paper()
    assert used.halo == (92, 92)
    assert used.min_input == (188, 188)
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert used.model_dump_json() == fresh.model_dump_json()
    assert used.replace(channels=3) == paper(channels=3)


@pytest.mark.parametrize("form", FORMS)
def test_each_setting_has_a_help_text_that_is_a_sentence(form: type[Settings]) -> None:
    for name, field in form.model_fields.items():
        if isinstance(field.default, Settings):
            continue
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("form", "name", "allowed", "refused"),
    [
        (BorderWeights, "w0", [0, 100], [-0.1]),
        (BorderWeights, "sigma", [0.01], [0, -1]),
        (BorderWeights, "near_sigma", [0.01], [0]),
        (BorderWeights, "balance", [0, 1], [-0.01, 1.01]),
        (BorderWeights, "scheme", ["paper", "fiji"], ["Fiji", None]),
        (Segmentation, "threshold", [0, 1], [-0.01, 1.01]),
        (Segmentation, "min_distance", [0], [-0.1]),
        (Segmentation, "neck", [0, 1], [1.01]),
        (Segmentation, "min_size", [0], [-1, 1.5]),
        (Segmentation, "ridge", [0], [-1]),
        (Segmentation, "link_z", ["overlap", "none"], ["iou"]),
        (Segmentation, "link_iou", [0, 1], [1.01]),
        (Prediction, "tile", [0, 1], [-1]),
        (Prediction, "averaging", ["none", "dihedral"], ["mean"]),
        (Prediction, "precision", ["auto", "fp32", "bf16", "fp16"], ["fp64"]),
        (Augmentation, "elastic", [0], [-1]),
        (Augmentation, "rotation", [0, 180], [-1, 181]),
        (Augmentation, "scale", [1, 4], [0.99, 4.01]),
        (Augmentation, "contrast", [1, 4], [0.99, 4.01]),
        (Augmentation, "gamma", [1, 4], [0.99, 4.01]),
        (Training, "ndim", [2, 3], [1, 4]),
        (Training, "width", [1, 256], [0, 257]),
        (Training, "depth", [1, 7], [0, 8]),
        (Training, "dropout", [0, 1], [1.01]),
        (Training, "learning_rate", [1e-9], [0]),
        (Training, "momentum", [0, 0.999], [-0.1, 1]),
        (Training, "averaging", [0, 0.999], [-0.1, 1]),
        (Training, "batch", [1, 256], [0, 257]),
        (Training, "patch", [4, 4096], [3, 4097]),
        (Training, "foreground", [0, 1], [1.01]),
        (Training, "validation", [0, 0.5], [-0.01, 0.51]),
        (Training, "seed", [0], [-1]),
        (Training, "optimiser", ["sgd", "adamw"], ["adam"]),
    ],
)
def test_bounds_are_allowed_and_what_is_beyond_them_refused(
    form: type[Settings], name: str, allowed: list[Any], refused: list[Any]
) -> None:
    for value in allowed:
        assert getattr(form().replace(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValidationError, match=name):
            form().replace(**{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", None])
def test_numbers_are_finite_numbers(value: Any) -> None:
    with pytest.raises(ValidationError, match="sigma"):
        BorderWeights(sigma=value)


@pytest.mark.parametrize("form", FORMS)
def test_every_number_has_an_upper_bound(form: type[Settings]) -> None:
    for name, field in form.model_fields.items():
        if field.annotation in (int, float):
            wild = 10**300 if field.annotation is int else 1e300
            with pytest.raises(ValidationError, match=name):
                form.model_validate({name: wild})


@pytest.mark.parametrize("form", FORMS)
def test_unknown_names_are_refused(form: type[Settings]) -> None:
    with pytest.raises(ValidationError, match="colour"):
        form.model_validate({"colour": 1})
    with pytest.raises(ValidationError, match="colour"):
        form().replace(colour=1)


def test_settings_cannot_be_changed_in_place() -> None:
    settings = Segmentation()
    with pytest.raises(ValidationError, match="frozen"):
        settings.threshold = 0.7
    assert settings.replace(threshold=0.7).threshold == 0.7
    assert settings.threshold == 0.5


def test_a_replaced_value_inside_another_is_kept_and_checked() -> None:
    training = Training().replace(border=BorderWeights(w0=2), batch=1)
    assert training.border.w0 == 2
    assert training.replace(seed=5).border.w0 == 2
    with pytest.raises(ValidationError, match=r"border\.w0"):
        training.replace(border={"w0": -2})


@pytest.mark.parametrize(("steps", "minutes"), [(10, 5.0), (0, 0)])
def test_a_budget_is_either_steps_or_minutes(steps: int, minutes: float) -> None:
    message = f"either steps or minutes, found {steps} steps and {float(minutes)}"
    with pytest.raises(ValidationError, match=message):
        Training(steps=steps, minutes=minutes)


def test_presets_bear_their_names() -> None:
    assert {name: preset().preset for name, preset in PRESETS.items()} == {
        "quick": "quick",
        "accurate": "accurate",
        "paper": "paper",
    }


def test_the_papers_recipe_is_the_papers() -> None:
    recipe = Training.paper()
    assert recipe.architecture(channels=1, classes=2) == paper()
    assert (recipe.optimiser, recipe.momentum, recipe.batch) == ("sgd", 0.99, 1)
    assert (recipe.border.w0, recipe.border.sigma) == (10, 5)
    assert recipe.augmentation.elastic == 10
    assert recipe.averaging == 0
    # one tile of 572 × 572
    assert paper().input_size((recipe.patch,) * 2) == (572, 572)


def test_the_fiji_plugins_constants_are_its_own() -> None:
    fiji = BorderWeights.fiji()
    assert (fiji.scheme, fiji.w0, fiji.sigma) == ("fiji", 50, 6)
    assert (fiji.balance, fiji.near_sigma) == (0.1, 10)


@pytest.mark.parametrize(
    ("slices", "steps_z"),
    [(1, 1), (15, 1), (16, 2), (31, 2), (32, 4), (64, 8), (500, 8)],
)
def test_a_stack_is_pooled_in_z_as_often_as_its_thickness_bears(
    slices: int, steps_z: int
) -> None:
    table = Training(ndim=3, depth=3).architecture(1, 2, slices)
    assert table.step == (steps_z, 8, 8)


def test_the_recipe_sets_size_and_dropout_of_the_network() -> None:
    table = Training(width=5, depth=2, dropout=0.25).architecture(channels=3, classes=4)
    assert isinstance(table, Architecture)
    assert (table.channels, table.classes, table.ndim) == (3, 4, 2)
    assert [level.down[1] for level in table.levels] == [5, 10, 20]
    assert [level.dropout for level in table.levels] == [0, 0.25, 0.25]


def test_what_does_not_go_together_inside_a_part_is_said_once() -> None:
    values = CARD.model_dump() | {"architecture": {"kind": "unetr", "window": (40, 40)}}
    with pytest.raises(ValidationError) as refused:
        ModelCard.model_validate(values)
    assert explain(refused.value) == (
        "architecture: the window has 2 or 3 axes of a multiple of 16 pixels, found "
        "40 × 40."
    )
