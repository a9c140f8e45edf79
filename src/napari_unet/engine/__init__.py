"""The learning machine: network, training and inference in torch. No Qt, no napari."""

import os

# What Apple's GPUs cannot do yet, in volumes above all, the CPU does, and torch says
# so: without it a training would end. It counts only if set before torch is loaded.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
