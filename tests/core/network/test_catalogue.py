"""The family as a whole; what each network computes is tested in `engine`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.catalogue import NETWORKS, Entry
from napari_unet.core.training.training_settings import (
    OF_NETWORK,
    PRESETS,
    Training,
)

PAGE = Path(__file__).parents[3].joinpath("docs", "networks.md").read_text("utf-8")
KINDS = [(name, ndim) for name, entry in NETWORKS.items() for ndim in entry.ndims]
SMALL = Entry(
    title="Small net",
    use="For tests.",
    paper="None",
    verified="nothing",
    ndims=(2,),
    build=lambda choice: u_shape(
        ndim=choice.ndim,
        channels=choice.channels,
        classes=choice.classes,
        width=choice.width,
        depth=choice.depth,
    ),
    recipe={2: {"width": 4, "depth": 1}},
    published={2: {"width": 7, "norm": "batch"}},
    encoder="vgg11",
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "small", SMALL)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "ndim"), KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_each_network_can_be_had_with_each_preset(
    name: str, ndim: int, preset: str
) -> None:
    settings = PRESETS[preset](ndim).with_network(name)  # type: ignore[arg-type]
    network = settings.architecture(channels=1, classes=3, slices=64)
    assert (network.ndim, network.channels, network.classes) == (ndim, 1, 3)
    assert network.output_size(network.min_input) == network.min_output


@pytest.mark.parametrize("encoder", ["none", "imagenet"])
@pytest.mark.parametrize(("name", "ndim"), KINDS)
def test_what_changes_nothing_is_known_to_be_settled(
    name: str, ndim: int, encoder: str
) -> None:
    entry = NETWORKS[name]
    if entry.refusal(ndim, encoder=encoder):
        return
    settings = PRESETS["quick"](ndim).with_network(name)  # type: ignore[arg-type]
    settings = settings.replace(encoder=encoder)
    network = settings.architecture(channels=1, classes=2, slices=64)
    others = {
        "width": 12,
        "depth": 1,
        "norm": "instance",
        "dropout": 0.3,
        "padded": True,
    }
    idle = {
        field
        for field, value in others.items()
        if settings.replace(**{field: value}).architecture(1, 2, 64) == network
    }
    settled = entry.settled(encoder)
    assert idle == settled.keys() - {"encoder"}
    assert set(settled) <= set(OF_NETWORK)


@pytest.mark.parametrize("entry", NETWORKS.values(), ids=NETWORKS)
def test_each_network_is_explained_in_a_line(entry: Entry) -> None:
    assert entry.title
    assert entry.paper
    assert entry.verified
    assert entry.use.endswith(".")
    assert len(entry.use) <= 90
    assert set(entry.recipe) <= set(entry.ndims)
    for recipe in (*entry.published.values(), *entry.recipe.values()):
        assert set(recipe) <= set(Training.model_fields)


def test_the_usual_network_needs_nothing_otherwise() -> None:
    for preset, make in PRESETS.items():
        for ndim in get_args(Training.model_fields["ndim"].annotation):
            assert make(ndim).with_network("unet") == make(ndim), preset


def test_the_norms_of_the_preset_paper_are_those_of_the_papers() -> None:
    norms = {
        name: Training.paper().with_network(name).norm
        for name in NETWORKS
        if 2 in NETWORKS[name].ndims
    }
    assert norms == {
        **dict.fromkeys(("unet", "vnet", "fcn8", "ternaus"), "none"),
        **dict.fromkeys(("resunet", "attention", "multires"), "batch"),
        **dict.fromkeys(("nnunet", "resenc", "unetr", "monai_resunet"), "instance"),
    }
    assert Training.paper(3).with_network("nnunet").norm == "instance"
    assert Training.paper(3).with_network("vnet").norm == "none"


@pytest.mark.usefixtures("small")
def test_a_recipe_holds_as_long_as_its_network_is_chosen() -> None:
    mine = Training.accurate().replace(batch=7, minutes=2)
    chosen = mine.with_network("small")
    assert chosen == mine.replace(network="small", width=4, depth=1)
    assert chosen.replace(depth=2).with_network("unet") == mine
    paper = Training.paper().with_network("small")
    assert (paper.width, paper.depth, paper.norm) == (7, 1, "batch")
    assert paper.with_network("unet") == Training.paper()


@pytest.mark.usefixtures("small")
def test_what_a_network_cannot_take_is_said_in_a_sentence() -> None:
    assert SMALL.refusal(2, 9) == SMALL.refusal(2) == ""
    assert SMALL.refusal(2, 3, "imagenet") == SMALL.refusal(2, None, "imagenet") == ""
    assert SMALL.refusal(3) == "Small net is for slices (2-D) alone."
    assert SMALL.refusal(2, 4, "imagenet") == (
        "ImageNet's weights are for grey or RGB images, of 1 or 3 channels, these "
        "have 4."
    )
    assert NETWORKS["unet"].refusal(2, 3, "imagenet") == (
        "There are no ImageNet weights for U-Net."
    )
    with pytest.raises(ValueError, match=r"is for slices \(2-D\) alone"):
        Training(network="small", ndim=3).architecture(channels=1, classes=2)


def test_an_unknown_network_is_told_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="should be one of unet"):
        Training(network="mamba")
    with pytest.raises(ValueError, match="should be one of unet"):
        Training().with_network("mamba")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_page_of_networks_has_a_row_for_each_network(name: str) -> None:
    entry = NETWORKS[name]
    axes = " and ".join(f"{n}-D" for n in entry.ndims)
    row = f"| `{name}` | {entry.title}, {axes} | {entry.paper} | {entry.verified} |"
    assert row in PAGE.splitlines()


def test_another_network_begins_without_an_encoder() -> None:
    chosen = Training().with_network("ternaus").replace(encoder="imagenet")
    assert chosen.architecture(channels=3, classes=2).levels[0].down == (64,)  # type: ignore[attr-defined]
    assert chosen.with_network("unet") == Training()
    assert chosen.with_network("fcn8").encoder == "none"


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_say_what_the_network_leaves_no_choice_of(preset: str) -> None:
    usual = PRESETS[preset]()
    unetr = usual.with_network("unetr")
    assert (unetr.depth, unetr.padded, unetr.dropout) == (4, True, 0.0)
    assert unetr.norm == "instance"
    assert unetr.with_network("unet") == usual
    vgg = usual.with_network("ternaus", "imagenet")
    assert (vgg.encoder, vgg.width, vgg.norm) == ("imagenet", 64, "none")
    assert vgg.with_network("ternaus") == usual.with_network("ternaus")
    assert vgg.with_network("unet") == usual
