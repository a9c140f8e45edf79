"""The table of tasks. The images tested are never used to choose anything."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.accuracy.task import Sample, Target, Task

_OBJECTS = ("ap@0.5", "ap@0.75", "ap@0.5:0.95")
_WITHOUT_SPECKS = "ap@0.5_ignore_below_25"

# In the natural order of the folder; the first twenty are learnt.
_NUCLEI = (
    "0bf4b1441676 0c6507d493bf 1e61ecf354cb 1e8408fbb161 03f583ec5018 04acab7636c4 "
    "4b274461c6d0 5d2c98fd6fda 6bd18a218d25 06c779330d6d 7d40ea6ead1b 8f6e49e474eb "
    "12f89395ad5d 16c3d5935ba9 28d33efef218 29dd28df98ee 30f65741053d 33d0a9b24c25 "
    "57d88f45e479 61a15ccbfebb 64eeef16fdc4 68f833de9f8c 72b18a405555 89be66f88612 "
    "91cc2e0d4d6e 92e7e86e765e 93cfd412c7de 94a5a37c3b11 295ac4ecf2ee 305a8baaf726 "
    "449fe932622d 0532c64c2fd0 1609b1b8480e 2869fad54664 4185b9369fc8 06350c7cc618 "
    "9774c8239632 10328b822b83 139946af9e2c 785555c0cbb4 831218e6a1a5 02903040e19d "
    "3582166ee207 5908488d940e 21408476af05 a3a65623e079 a22b7882fa85 a101a00fea63 "
    "a6593632dcbb abc781c8721f"
)

_ACCURATE = ("--preset", "accurate")
_AVERAGED = ("--averaging", "dihedral")

# No well of the images tested is among those learnt.
_WELLS_LEARNT = (
    "IXMtest_A09_s1 IXMtest_A16_s3 IXMtest_B04_s2 IXMtest_B04_s4 IXMtest_B20_s2 "
    "IXMtest_C18_s1 IXMtest_D01_s1 IXMtest_E19_s4 IXMtest_F22_s6 IXMtest_G06_s7"
)
_WELLS_TESTED = (
    "IXMtest_H01_s9 IXMtest_H06_s4 IXMtest_I12_s1 IXMtest_I18_s3 IXMtest_J20_s1 "
    "IXMtest_K03_s5 IXMtest_K05_s9 IXMtest_K12_s1"
)

# Every sixth tile of those that starters may learn.
_TISSUE_TESTED = (
    "0bf33d3db428 1631352dbafb 2dd3356f2dcf 4193474b2f1c 4cbd6c37f3a5 55f98f43c152 "
    "673baf65ae5c 718751b439c0 815524d88283 947c0d94c821 a7f6194ddbea af576e8ec3a8 "
    "c0152b1a260e eb1df8ed879d"
)


def sections(numbers: tuple[int, ...]) -> tuple[Sample, ...]:
    """Return single sections of the ISBI 2012 training volume."""
    return tuple(
        Sample(
            f"section{n:02}", "train-volume.tif", "train-labels.tif", range(n, n + 1)
        )
        for n in numbers
    )


def frames(truth: str, numbers: tuple[int, ...]) -> tuple[Sample, ...]:
    """Return frames of DIC-C2DH-HeLa with the silver (ST) or gold (GT) truth."""
    return tuple(
        Sample(f"t{n:03}", f"01/t{n:03}.tif", f"01_{truth}/SEG/man_seg{n:03}.tif")
        for n in numbers
    )


def _pairs(names: str) -> tuple[Sample, ...]:
    """Return images whose labels have the same name in another folder."""
    return tuple(
        Sample(name, f"images/{name}.tif", f"labels/{name}.tif")
        for name in names.split()
    )


_FRAMES_TESTED = frames("GT", (54, 67)) + frames(
    "ST", tuple(n for n in range(60, 84) if n != 67)
)


def _embryo(planes: range) -> Sample:
    return Sample(
        f"planes{planes.start:02}-{planes.stop - 1:02}",
        "8_cell_stage_raw.tif",
        "8_cell_stage_label.tif",
        planes,
    )


_ALL = (
    Task(
        name="isbi2012",
        title="ISBI 2012, neuron membranes in electron microscopy, three sections",
        folder="isbi2012",
        learnt=sections((0, 9, 18)),
        tested=sections((3, 4, 5, 6, 12, 13, 14, 15)),
        labels="binary",
        metrics=("pixel_error@0.5", "adapted_rand_error", "iou"),
        shown=("pixel_error@0.5", "adapted_rand_error", "iou"),
        save="probabilities,classes",
        minutes=(1.0, 5.0),
        seeds=(0, 1, 2),
        forest=True,
        targets=(
            Target("pixel_error@0.5", 1.0, at_most=0.09),
            Target("adapted_rand_error", 1.0, at_most=0.19),
            Target("pixel_error@0.5", 5.0, at_most=0.084),
            Target("adapted_rand_error", 5.0, at_most=0.13),
        ),
    ),
    Task(
        name="isbi2012_accurate",
        title="ISBI 2012, fifteen sections, the preset accurate",
        folder="isbi2012",
        learnt=sections(tuple(range(15))),
        tested=sections((16, 17, 18, 19)),
        labels="binary",
        metrics=("isbi2012", "pixel_error@0.5", "adapted_rand_error"),
        shown=(
            "isbi2012_v_rand",
            "isbi2012_v_info",
            "pixel_error@0.5",
            "adapted_rand_error",
        ),
        save="probabilities",
        minutes=(85.0,),
        training=_ACCURATE,
        prediction=_AVERAGED,
        targets=(
            Target("isbi2012_v_rand", 85.0, at_least=0.973),
            Target("isbi2012_v_info", 85.0, at_least=0.987),
        ),
    ),
    Task(
        name="isbi2012_scribbles",
        title="ISBI 2012, scribbles of 1 % of the pixels of the same three sections",
        folder="isbi2012",
        learnt=sections((0, 9, 18)),
        tested=sections((3, 4, 5, 6, 12, 13, 14, 15)),
        labels="annotation",
        metrics=("pixel_error@0.5", "adapted_rand_error", "iou"),
        shown=("pixel_error@0.5", "adapted_rand_error", "iou"),
        save="probabilities,classes",
        scribbles=True,
        full="isbi2012",
        targets=(
            Target("pixel_error@0.5", 5.0, at_least=0.95, relative=True),
            Target("adapted_rand_error", 5.0, at_least=0.85, relative=True),
        ),
    ),
    Task(
        name="hela",
        title="DIC-C2DH-HeLa (Cell Tracking Challenge), five frames",
        folder="ctc_dic_c2dh_hela",
        learnt=frames("ST", (0, 12, 24, 36, 48)),
        tested=_FRAMES_TESTED,
        labels="instances",
        metrics=("seg", "ap"),
        shown=("seg", *_OBJECTS),
        targets=(Target("seg", 5.0, at_least=0.6),),
    ),
    # The other sequence is not in the folder: what is farthest from the frames learnt.
    Task(
        name="hela_other",
        title="DIC-C2DH-HeLa (Cell Tracking Challenge), five early frames, tested on "
        "frames of the same sequence that are at least 44 later",
        folder="ctc_dic_c2dh_hela",
        learnt=frames("ST", (0, 4, 8, 12, 16)),
        tested=frames("ST", tuple(range(60, 84))),
        labels="instances",
        metrics=("seg", "ap"),
        shown=("seg", *_OBJECTS),
        targets=(Target("seg", 5.0, at_least=0.7),),
    ),
    Task(
        name="hela_accurate",
        title="DIC-C2DH-HeLa (Cell Tracking Challenge), fifty frames, preset accurate",
        folder="ctc_dic_c2dh_hela",
        learnt=frames("ST", tuple(range(50))),
        tested=_FRAMES_TESTED,
        labels="instances",
        metrics=("seg", "ap"),
        shown=("seg", *_OBJECTS),
        minutes=(85.0,),
        training=_ACCURATE,
        prediction=_AVERAGED,
        targets=(Target("seg", 85.0, at_least=0.8),),
    ),
    Task(
        name="usiigaci",
        title="Usiigaci, unstained cells in phase contrast, six images",
        folder="usiigaci_phase",
        learnt=_pairs("set01 set06 set11 set16 set21 set26"),
        tested=_pairs("set31 set36 set45"),
        labels="instances",
        metrics=("ap",),
        shown=_OBJECTS,
        minutes=(15.0,),
        targets=(Target("ap@0.5", 15.0, at_least=0.7),),
    ),
    Task(
        name="dsb2018",
        title="Data Science Bowl 2018, fluorescent nuclei, twenty images",
        folder="dsb2018_fluo",
        learnt=_pairs(_NUCLEI)[:20],
        tested=_pairs(_NUCLEI)[20:],
        labels="instances",
        metrics=("ap",),
        shown=_OBJECTS,
        targets=(Target("ap@0.5", 5.0, at_least=0.865),),
    ),
    Task(
        name="qcanet",
        title="QCANet mouse embryo, nuclei in 3-D, the first two thirds of a stack",
        folder="qcanet_embryo_3d",
        learnt=(_embryo(range(34)),),
        tested=(_embryo(range(34, 51)),),
        labels="instances",
        metrics=("iou", "ap", "seg"),
        shown=("iou", "seg", *_OBJECTS),
        save="classes,instances",
        minutes=(10.0,),
        axes="zyx",
        training=("--3d",),
        evaluation=("--volumes",),
    ),
    Task(
        name="bbbc039",
        title="BBBC039, fluorescent nuclei, ten images, tested on other wells",
        folder="bbbc039",
        learnt=_pairs(_WELLS_LEARNT),
        tested=_pairs(_WELLS_TESTED),
        labels="instances",
        metrics=("ap",),
        shown=(*_OBJECTS, _WITHOUT_SPECKS),
        # nuclei are of some 600 pixels; the truth holds specks by whim
        evaluation=("--ignore-below", "25"),
        targets=(
            Target("ap@0.5", 5.0, at_least=0.925),
            Target(_WITHOUT_SPECKS, 5.0, at_least=0.95),
            Target("ap@0.5:0.95", 5.0, at_least=0.785),
        ),
    ),
    Task(
        name="bbbc039_scribbles",
        title="BBBC039, scribbles of 1 % of the pixels of the same ten images",
        folder="bbbc039",
        learnt=_pairs(_WELLS_LEARNT),
        tested=_pairs(_WELLS_TESTED),
        labels="annotation",
        metrics=("ap",),
        shown=_OBJECTS,
        scribbles=True,
        full="bbbc039",
        targets=(Target("ap@0.5", 5.0, at_least=0.95, relative=True),),
    ),
)


def _task(name: str) -> Task:
    return next(task for task in _ALL if task.name == name)


def _volume(name: str, title: str, folder: str, planes: tuple[range, range]) -> Task:
    """Return a stack whose last third in z is tested."""
    files = {
        "plantseg": ("raw.tif", "label.tif"),
        "vnc": ("raw.tif", "labels.tif"),
    }[name]
    learnt, tested = (
        Sample(f"planes{p.start:02}-{p.stop - 1:02}", *files, p) for p in planes
    )
    return replace(
        _task("qcanet"),
        name=name,
        title=title,
        folder=folder,
        learnt=(learnt,),
        tested=(tested,),
    )


_VOLUMES = (
    _volume(
        "plantseg",
        "PlantSeg ovule, cells in 3-D, the first two thirds of a crop",
        "plantseg_ovule_mini_3d",
        (range(14), range(14, 20)),
    ),
    replace(
        _volume(
            "vnc",
            "Drosophila nerve cord, membranes in 3-D, the first two thirds of a stack",
            "vnc_sstem_3d",
            (range(9), range(9, 14)),
        ),
        labels="binary",
        membrane=128,
        metrics=("iou", "pixel_error@0.5"),
        shown=("iou", "pixel_error@0.5"),
        save="probabilities,classes",
    ),
)


def _movie(name: str, title: str, folder: str, learnt: str, tested: str) -> Task:
    """Return frames of a movie with binary masks."""

    def named(numbers: str) -> tuple[Sample, ...]:
        return tuple(
            Sample(f"t{n}", f"images/01_t{n}.tif", f"masks/01_t{n}.tif")
            for n in numbers.split()
        )

    return Task(
        name=name,
        title=title,
        folder=folder,
        learnt=named(learnt),
        tested=named(tested),
        labels="binary",
        metrics=("iou",),
        shown=("iou",),
        save="classes",
        minutes=(1.0, 5.0),
    )


_MOVIES = (
    _movie(
        "gowt1",
        "Fluo-N2DH-GOWT1, nuclei of another laboratory, two frames, from scratch",
        "ctc_fluo_n2dh_gowt1_binary",
        "003 081",
        "052 075 085 091",
    ),
    _movie(
        "psc",
        "PhC-C2DL-PSC, cells of another laboratory, two frames, from scratch",
        "ctc_phc_c2dl_psc_binary",
        "007 090",
        "025 053 101 144 165",
    ),
)
_FINE_TUNED = tuple(
    replace(
        task,
        name=f"{task.name}_finetuned",
        title=task.title.replace("from scratch", f"from the starter model {starter}"),
        training=("--init", starter),
        full=task.name,
    )
    for task, starter in zip(_MOVIES, ("nuclei", "phase_contrast"), strict=True)
)

# What a part of the paper buys: the recipe without it.
_PARTS = {
    "whole": ("the whole recipe", (), ()),
    "no_border": ("no border weights", ("--border-w0", "0"), ()),
    "no_elastic": ("no elastic deformation", ("--augment-elastic", "0"), ()),
    "no_mirror": ("no mirroring", ("--no-augment-mirror",), ()),
    "averaged": ("averaged over eight views", (), _AVERAGED),
}
_ABLATION = tuple(
    replace(
        _task(base),
        name=f"{base}_{part}",
        title=f"{_task(base).title}, ten minutes: {words}",
        minutes=(10.0,),
        seeds=(0,),
        forest=False,
        targets=(),
        training=training,
        prediction=prediction,
        full=None if part == "whole" else f"{base}_whole",
        # the same model seen in another way tells most
        trained=f"{base}_whole" if prediction else None,
    )
    for base in ("isbi2012", "hela")
    for part, (words, training, prediction) in _PARTS.items()
)


def _judged(name: str, title: str, *targets: Target, starter: str, base: Task) -> Task:
    """Return a task that a starter does without any training."""
    return replace(
        base,
        name=f"{name}_starter",
        title=title,
        learnt=(),
        minutes=(0.0,),
        seeds=(0,),
        targets=targets,
        starter=starter,
    )


# How starters are made that have learnt nothing of a collection of images, by file.
WITHOUT = {
    (file := f"benchmark-output/starters/nuclei-without-{collection}.safetensors"): (
        f"python -m benchmarks.pretrained nuclei --without {collection} "
        f"--output {file} --options --steps {steps} --augment-scale 2"
    )
    for collection, steps in (("bbbc039", 8000), ("bbbc038", 5000))
}
_NO_BBBC039, _NO_BBBC038 = WITHOUT


def _apart(kind: str, names: str) -> Task:
    """Return images put aside for starters that are tested instead."""
    return replace(
        _task("dsb2018"), folder=f"starter_pool/bbbc038_{kind}", tested=_pairs(names)
    )


_STARTERS = (
    _judged(
        "bbbc039",
        "BBBC039, a starter that has learnt no image of this set",
        Target("ap@0.5:0.95", 0.0, at_least=0.71),
        starter=_NO_BBBC039,
        base=_task("bbbc039"),
    ),
    _judged(
        "dsb2018",
        "Data Science Bowl 2018, a starter that has learnt no image of this set",
        Target("ap@0.5:0.95", 0.0, at_least=0.59),
        starter=_NO_BBBC038,
        base=_task("dsb2018"),
    ),
    _judged(
        "dsb2018_same",
        "Data Science Bowl 2018, the starter nuclei, which has learnt others of it",
        Target("ap@0.5", 0.0, at_least=0.8),
        starter="nuclei",
        base=_task("dsb2018"),
    ),
    _judged(
        "usiigaci_same",
        "Usiigaci, the starter phase_contrast, which has learnt other images of it",
        starter="phase_contrast",
        base=_task("usiigaci"),
    ),
    _judged(
        "histology",
        "Nuclei in stained tissue, the starter histology, which has learnt other tiles",
        Target("ap@0.5", 0.0, at_least=0.65),
        starter="histology",
        base=_apart("histology", _TISSUE_TESTED),
    ),
    _judged(
        "smear",
        "Nuclei in smears, the starter smear, which has learnt other images",
        Target("ap@0.5", 0.0, at_least=0.7),
        starter="smear",
        base=_apart("smear", "1b44d2264383 4e07a653352b"),
    ),
)

TASKS = {
    task.name: task
    for task in (
        *_ALL,
        *_VOLUMES,
        *_STARTERS,
        *_MOVIES,
        *_FINE_TUNED,
        *_ABLATION,
    )
}
