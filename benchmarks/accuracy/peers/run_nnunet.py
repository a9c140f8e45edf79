"""nnU-Net v2: its own plan, 2-D network, augmentation, training step and prediction.

Objects are learnt as cores and borders and put together again by the functions of its
authors (acvl-utils). All images are learnt (fold "all"), without the epochs of
validation, which would choose nothing; the learning rate falls as in its recipe, but
over the time there is in place of 1000 epochs.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
import torch
from acvl_utils.instance_segmentation.instance_as_semantic_seg import (
    convert_instanceseg_to_semantic_patched,
    convert_semantic_to_instanceseg,
)
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from benchmarks.accuracy.peers.hand_over import Given, Learnt, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER, _NAME, _CONFIGURATION = 1, "Dataset001_Peers", "2d"
# What its reader of TIFFs tells.
_SPACING = {"spacing": (999, 1, 1)}


def learn(given: Given) -> Learnt:
    """Plan, preprocess, and take steps until the time is over."""
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    np.random.seed(given.seed)  # noqa: NPY002
    folder = _folders(given)
    # the planner takes this for a number of threads, the trainer for one of processes
    os.environ |= {"nnUNet_n_proc_DA": str(given.threads)}
    _write_dataset(given, folder / "raw" / _NAME)
    extract_fingerprint_dataset(_NUMBER, num_processes=given.threads)
    _, plan = plan_experiment_dataset(_NUMBER)
    preprocess_dataset(_NUMBER, plan, (_CONFIGURATION,), (given.threads,))
    planned = folder / "preprocessed" / _NAME
    plans, dataset = (
        json.loads((planned / f"{name}.json").read_text(encoding="utf-8"))
        for name in (plan, "dataset")
    )
    # augmentation in this process: others would wait for the cores as well
    os.environ |= {"nnUNet_n_proc_DA": "0"}
    # the trainer takes this from the plans, too
    plans["continue_training"] = False
    trainer = nnUNetTrainer(plans, _CONFIGURATION, "all", dataset, torch.device("cpu"))
    trainer.initialize()
    steps = _train(trainer, given)
    predictor = _predictor(trainer)

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        data = image.astype(np.float32)[None, None]
        classes, probabilities = predictor.predict_single_npy_array(
            data, _SPACING, save_or_return_probabilities=True
        )
        if not given.objects:
            inside: NDArray[Any] = np.asarray(probabilities)[1, 0]
            return inside
        cells = convert_semantic_to_instanceseg(np.asarray(classes, np.uint8))
        found: NDArray[Any] = cells[0]
        return found

    configuration = trainer.configuration_manager
    sides = " × ".join(str(side) for side in configuration.patch_size)
    chosen = (f"patch {sides}", f"batch {configuration.batch_size}")
    parameters = sum(p.numel() for p in trainer.network.parameters())
    return Learnt(predict, steps, parameters, chosen)


def _folders(given: Given) -> Path:
    """Tell nnU-Net its folders."""
    folder = Path(given.output) / "nnunet"
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True)
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    return folder


def _write_dataset(given: Given, folder: Path) -> None:
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    files = sorted((Path(given.learnt) / "images").glob("*.tif"))
    for file in files:
        shutil.copyfile(file, folder / "imagesTr" / f"{file.stem}_0000.tif")
        labels = tifffile.imread(Path(given.learnt) / "labels" / file.name)
        if given.objects:
            ids = labels.astype(np.uint16)[None]
            classes = convert_instanceseg_to_semantic_patched(ids)[0]
        else:
            classes = (labels > 0).astype(np.uint8)
        tifffile.imwrite(folder / "labelsTr" / file.name, classes)
    names = ("background", *(("core", "border") if given.objects else ("inside",)))
    told = {
        "channel_names": {"0": "grey"},
        "labels": {name: value for value, name in enumerate(names)},
        "numTraining": len(files),
        "file_ending": ".tif",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    (folder / "dataset.json").write_text(json.dumps(told), encoding="utf-8")


def _train(trainer: nnUNetTrainer, given: Given) -> int:
    """Take steps until the time is over; return how many."""
    batches, _ = trainer.get_dataloaders()
    trainer.set_deep_supervision_enabled(True)
    trainer.network.train()
    steps, whole = 0, max(given.left, 1.0)
    while steps == 0 or given.left > 0:
        rate = trainer.initial_lr * max(given.left / whole, 0.0) ** 0.9
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate
        trainer.train_step(next(batches))
        steps += 1
    return steps


def _predictor(trainer: nnUNetTrainer) -> nnUNetPredictor:
    """Return what predicts as its command does: tiles by half, four views."""
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    return predictor


if __name__ == "__main__":
    run(learn, ("nnunetv2", "torch"))
