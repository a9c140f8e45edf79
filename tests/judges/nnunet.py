"""Whether nnU-Net says of an image what its model says here.

``python tests/judges/nnunet.py /venv/bin/python``, with the Python of an environment
that has nnunetv2. There it plans, trains two steps of two folds for planes (plain) and
for volumes (residual encoder), and predicts; here its folders are read and predict.
It ends with an error if a probability differs by more than 1e-3 between the outermost
half windows, where it pads the image otherwise than we do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# name, number, axes, image size for training, planner, configuration, file ending
CASES = {
    "Dataset001_Planes": ((96, 96), "ExperimentPlanner", "nnUNetPlans", "2d", ".png"),
    "Dataset002_Volumes": (
        (24, 48, 48),
        "nnUNetPlannerResEncM",
        "nnUNetResEncUNetMPlans",
        "3d_fullres",
        ".nii.gz",
    ),
}
SPACING = (2.0, 0.5, 0.5)
TOLERANCE = 1e-3


def example(size: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright balls on dark ground, and where they are."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    grid = np.indices(size)
    for _ in range(6):
        centre = rng.uniform(0, size)
        square = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        mask[square < 49] = 1
    image = 40 + 120 * mask + rng.normal(0, 15, size)
    return image.clip(1, 255).astype(np.uint8), mask


def make(root: Path) -> None:
    """What nnU-Net does; in its own environment."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(root / name)
        (root / name).mkdir()
    os.environ["nnUNet_n_proc_DA"] = "1"  # noqa: SIM112
    import torch

    torch.set_num_threads(1)
    for name in CASES:
        write_dataset(root / "raw" / name, name)
        trained = train(name, root)
        predict(name, trained, root)


def write_dataset(folder: Path, name: str) -> None:
    import SimpleITK
    from batchgenerators.utilities.file_and_folder_operations import save_json
    from skimage.io import imsave

    size, *_, ending = CASES[name]
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number in range(5):
        image, mask = example(size, number)
        for pixels, path in (
            (image, folder / "imagesTr" / f"case{number}_0000{ending}"),
            (mask, folder / "labelsTr" / f"case{number}{ending}"),
        ):
            if ending == ".png":
                imsave(path, pixels, check_contrast=False)
            else:
                written = SimpleITK.GetImageFromArray(pixels)
                written.SetSpacing(SPACING[::-1])
                SimpleITK.WriteImage(written, str(path))
    described = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "ball": 1},
        "numTraining": 5,
        "file_ending": ending,
    }
    save_json(described, folder / "dataset.json")


def train(name: str, root: Path) -> Path:
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.run.run_training import get_trainer_from_args

    _, planner, plans, configuration, _ = CASES[name]
    number = int(name[7:10])
    extract_fingerprints([number], num_processes=1, check_dataset_integrity=False)
    plan_experiments([number], experiment_planner_class_name=planner)
    preprocess([number], plans, configurations=[configuration], num_processes=[1])
    cpu = torch.device("cpu")
    for fold in (0, 1):
        trainer = get_trainer_from_args(
            name, configuration, fold, "nnUNetTrainer", plans, device=cpu
        )
        trainer.num_epochs, trainer.num_iterations_per_epoch = 1, 2
        trainer.num_val_iterations_per_epoch = 1
        trainer.run_training()
    return root / "results" / name / f"nnUNetTrainer__{plans}__{configuration}"


def predict(name: str, trained: Path, root: Path) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(trained), (0, 1))
    patch = predictor.configuration_manager.patch_size
    image, _ = example(tuple(2 * n for n in patch), 9)
    volume = image if image.ndim == 3 else image[None]
    spacing = SPACING if image.ndim == 3 else (999, 1, 1)
    _, said = predictor.predict_single_npy_array(
        volume[None].astype(np.float32), {"spacing": spacing}, None, None, True
    )
    np.savez(root / f"{name}.npz", image=image, said=said, trained=str(trained))


def compare(root: Path) -> bool:
    """Whether our probabilities are nnU-Net's, between the outermost half windows."""
    from napari_unet.core.events import PredictionFinished
    from napari_unet.core.images.image import Image
    from napari_unet.core.settings import Prediction
    from napari_unet.engine.inference import overlap_tile
    from napari_unet.engine.model_formats.catalogue import read_model

    right = True
    for name in CASES:
        found = np.load(root / f"{name}.npz")
        model = read_model(Path(str(found["trained"])))
        image = found["image"]
        spacing = tuple(1000 * s for s in SPACING) if image.ndim == 3 else None
        shown = Image(image, "zyx"[-image.ndim :], spacing_um=spacing)
        settings = Prediction(device="cpu", precision="fp32")
        *_, last = overlap_tile.predict(
            model, shown, axes="c" + shown.axes, settings=settings
        )
        assert isinstance(last, PredictionFinished)
        said = found["said"] if image.ndim == 3 else found["said"][:, 0]
        window = model.card.architecture.window
        inner = (slice(None), *(slice(n // 2, -(n // 2)) for n in window))
        worst = np.abs(last.probabilities - said)[inner].max()
        print(f"{name}: window {window}, {worst:.1e} apart, sd {said[inner].std():.3f}")
        right &= bool(worst <= TOLERANCE)
    return right


if __name__ == "__main__":
    if sys.argv[1] == "--make":
        make(Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.argv[1], __file__, "--make", folder]
            subprocess.run(command, check=True)
            sys.exit(not compare(Path(folder)))
