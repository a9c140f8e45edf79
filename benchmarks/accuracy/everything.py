"""The commands that train the preset accurate on all there is of each dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MINUTES = 60
_STACK = ("--3d", "--axes", "zyx")
# Name of the model, images, labels, what they mean, further options.
_SETS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    (
        "isbi2012",
        "isbi2012/train-volume.tif",
        "isbi2012/train-labels.tif",
        "binary",
        (),
    ),
    (
        "hela",
        "ctc_dic_c2dh_hela/01",
        "ctc_dic_c2dh_hela/01_ST/SEG",
        "instances",
        (),
    ),
    ("bbbc039", "bbbc039/images", "bbbc039/labels", "instances", ()),
    ("dsb2018", "dsb2018_fluo/images", "dsb2018_fluo/labels", "instances", ()),
    ("usiigaci", "usiigaci_phase/images", "usiigaci_phase/labels", "instances", ()),
    (
        "gowt1",
        "ctc_fluo_n2dh_gowt1_binary/images",
        "ctc_fluo_n2dh_gowt1_binary/masks",
        "binary",
        (),
    ),
    (
        "psc",
        "ctc_phc_c2dl_psc_binary/images",
        "ctc_phc_c2dl_psc_binary/masks",
        "binary",
        (),
    ),
    (
        "qcanet",
        "qcanet_embryo_3d/8_cell_stage_raw.tif",
        "qcanet_embryo_3d/8_cell_stage_label.tif",
        "instances",
        _STACK,
    ),
    (
        "plantseg",
        "plantseg_ovule_mini_3d/raw.tif",
        "plantseg_ovule_mini_3d/label.tif",
        "instances",
        _STACK,
    ),
    (
        "gonuclear",
        "gonuclear_mini_3d/1135_raw.tif",
        "gonuclear_mini_3d/1135_label.tif",
        "instances",
        _STACK,
    ),
    ("vnc", "vnc_sstem_3d/raw.tif", "vnc_sstem_3d/labels.tif", "semantic", _STACK),
)


def commands(data: str = "../shared/data") -> dict[str, tuple[str, str]]:
    """Return how to train on a dataset, and how to predict other images of its kind.

    Parameters
    ----------
    data : str
        Folder of all datasets.

    Returns
    -------
    dict of str to (str, str)
    """
    found = {}
    for name, images, labels, kind, options in _SETS:
        train = " ".join(
            (
                f"napari-unet train {data}/{images} {data}/{labels} --labels {kind}",
                *options,
                f"--preset accurate --minutes {_MINUTES} --output {name}.safetensors",
            )
        )
        axes = " --axes zyx" if options else ""
        predict = (
            f"napari-unet predict {name}.safetensors IMAGES{axes} "
            f"--averaging dihedral --output {name}"
        )
        found[name] = train, predict
    return found


def section() -> Iterator[str]:
    """Yield the section of the page."""
    yield "## Trained on everything"
    yield ""
    yield (
        "How the preset `accurate` is trained once on all annotated images of each "
        "dataset, and applied to others of its kind:"
    )
    yield ""
    yield "```sh"
    for train, predict in commands().values():
        yield train
        yield predict
    yield "```"
    yield ""
