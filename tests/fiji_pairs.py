"""Models of the Fiji plugin, made by hand, and what Caffe computes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_unet.engine.model_formats.fiji.prototxt import parse

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

h5py = pytest.importorskip("h5py")

# As protocol buffers write themselves; layers of training are between the others.
NET = """name: "small"
layer {
  name: "loaddata"
  type: "HDF5Data"
  top: "data"
  top: "labels"
  include {
    phase: TRAIN
  }
}
layer {
  name: "create_deformation"  # sizes do not matter
  type: "CreateDeformation"
  bottom: "labels"
  top: "def"
  create_deformation_param { ncomponents: 2 unknown: [1, 2] }
  include { phase: TRAIN }
}
layer { name: "shift" type: "ValueTransformation" bottom: "data3" top: "d0a"
  value_transformation_param { offset { v: -0.5 } } }
layer {
  name: "conv_d0a-b"
  type: "Convolution"
  bottom: "d0a"
  top: "d0b"
  param { lr_mult: 1.0 decay_mult: 1.0 }
  convolution_param { num_output: 3 pad: 0 kernel_size: 3
    weight_filler { type: "msra" } }
}
layer { name: "r1" type: "ReLU" bottom: "d0b" top: "d0b"
  relu_param { negative_slope: 0.1 } }
layer { name: "conv_d0b-c" type: "Convolution" bottom: "d0b" top: "d0c"
  convolution_param { num_output: 4 pad: 0 kernel_size: 3 kernel_size: 3 } }
layer { name: "r2" type: "ReLU" bottom: "d0c" top: "d0c"
  relu_param { negative_slope: 0.1 } }
layer { name: "drop" type: "Dropout" bottom: "d0c" top: "d0c"
  dropout_param { dropout_ratio: 0.25 } include { phase: TRAIN } }
layer { name: "pool" type: "Pooling" bottom: "d0c" top: "d1a"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "conv_d1a-b" type: "Convolution" bottom: "d1a" top: "d1b"
  convolution_param { num_output: 5 kernel_size: 3 } }
layer { name: "r3" type: "ReLU" bottom: "d1b" top: "d1b"
  relu_param { negative_slope: 0.1 } }
layer { name: "upconv_d1b_u0a" type: "Deconvolution" bottom: "d1b" top: "u0a"
  convolution_param { num_output: 6 kernel_size: 2 stride: 2 } }
layer { name: "join" type: "Concat" bottom: "u0a" bottom: "d0c" top: "u0b" }
layer { name: "conv_u0b-c" type: "Convolution" bottom: "u0b" top: "u0c"
  convolution_param { num_output: 7 kernel_size: 3 bias_term: false } }
layer { name: "r4" type: "ReLU" bottom: "u0c" top: "u0c"
  relu_param { negative_slope: 0.1 } }
layer { name: "conv_u0c-score" type: "Convolution" bottom: "u0c" top: "score"
  convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss"
  bottom: "score" bottom: "labels" top: "loss"
  include { phase: TRAIN } }
layer { name: "iou" type: "IoU" bottom: "score" top: "iou" include { phase: TEST } }
"""
SHAPES = {
    "conv_d0a-b": (3, 2, 3, 3),
    "conv_d0b-c": (4, 3, 3, 3),
    "conv_d1a-b": (5, 4, 3, 3),
    "upconv_d1b_u0a": (5, 6, 2, 2),
    "conv_u0b-c": (7, 10, 3, 3),
    "conv_u0c-score": (3, 7, 1, 1),
}
SAID: dict[str, Any] = {
    "element_size_um": np.array([0.5, 0.25]),
    "normalization_type": np.int32(2),
    "input_blob_name": "data3",
    "padding": "mirror",
    "name": "small net",
    "classNames": np.array([b"Background", b"Cell", b"Rest"]),
    "pixelwise_loss_weights/borderWeightFactor": np.float32(40),
    "pixelwise_loss_weights/borderWeightSigmaPx": np.float32(5),
    "pixelwise_loss_weights/foregroundBackgroundRatio": np.float32(0.2),
    "pixelwise_loss_weights/sigma1Px": np.float32(9),
}


def make_pair(
    folder: Path, *, text: Any = NET, stem: str = "small", **changes: Any
) -> Path:
    """Write both files and return the first; a change to None leaves a value out."""
    path = folder / f"{stem}.modeldef.h5"
    with h5py.File(path, "w") as file:
        file["model_prototxt"] = text
        for key, value in {**SAID, **changes}.items():
            if value is not None:
                file[f"unet_param/{key}"] = value
    rng = np.random.default_rng(0)
    with h5py.File(folder / f"{stem}.caffemodel.h5", "w") as file:
        for layer, shape in SHAPES.items():
            group = file.create_group(f"data/{layer}")
            group["0"] = rng.normal(0, 0.3, shape).astype(np.float32)
            if layer != "conv_u0b-c":
                width = shape[1] if layer.startswith("up") else shape[0]
                group["1"] = rng.normal(0, 0.3, width).astype(np.float32)
        file.create_group("data/join")
    return path


def caffe_scores(definition: Path, image: np.ndarray) -> np.ndarray:
    """Compute the scores that a pair gives, layer by layer; (channels, [z,] y, x)."""
    with h5py.File(definition) as file:
        text = file["model_prototxt"][()].decode()
    flat = image.ndim == 3
    maps = {"data3": torch.from_numpy(image[None])}
    weights = definition.with_name(definition.name.replace("modeldef", "caffemodel"))
    with h5py.File(weights) as file, torch.inference_mode():
        for layer in parse(text)["layer"]:
            if {"phase": ["TRAIN"]} in layer.get("include", []) or "score" in maps:
                continue
            group = file["data"].get(layer["name"][0], {})
            blobs = [torch.from_numpy(group[k][()]) for k in sorted(group)]
            read = [maps[name] for name in layer["bottom"]]
            maps[layer["top"][0]] = _computed(layer, read, blobs, flat=flat)
    found: np.ndarray = maps["score"][0].numpy()
    return found


def _computed(
    layer: dict[str, Any], read: list[Tensor], blobs: list[Tensor], *, flat: bool
) -> Tensor:
    x, ndim = read[0], 2 if flat else 3
    said = next((v[0] for k, v in layer.items() if k.endswith("_param")), {})

    def sizes(key: str) -> list[int]:
        values = [int(v) for v in said[key]]
        return values * ndim if len(values) == 1 else values

    match layer["type"][0]:
        case "ValueTransformation":
            return x + float(said["offset"][0]["v"][0])
        case "Convolution":
            return (F.conv2d if flat else F.conv3d)(x, *blobs)
        case "Deconvolution":
            up = F.conv_transpose2d if flat else F.conv_transpose3d
            return up(x, *blobs, stride=sizes("stride"))
        case "ReLU":
            return torch.where(x > 0, x, x * float(said["negative_slope"][0]))
        case "Pooling":
            pool = F.max_pool2d if flat else F.max_pool3d
            return pool(x, sizes("kernel_size"), sizes("stride"))
        case "Concat":
            parts = [x]
            for other in read[1:]:
                for axis in range(2, x.ndim):
                    lost = other.shape[axis] - x.shape[axis]
                    other = other.narrow(axis, lost // 2, x.shape[axis])
                parts.append(other)
            return torch.cat(parts, 1)
    raise ValueError(layer["type"])
