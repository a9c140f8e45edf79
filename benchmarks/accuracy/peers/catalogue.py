"""Which peers there are, and what they need in an environment of their own."""

from __future__ import annotations

from dataclasses import dataclass

# All read and write TIFFs.
_FILES = "tifffile==2026.3.3"


@dataclass(frozen=True, slots=True)
class Peer:
    """Something that people would use instead.

    Attributes
    ----------
    name : str
        Of the module `run_NAME`, the environment and the cells.
    title : str
        In the table.
    what : str
        How it learns and predicts, in a sentence.
    requirements : tuple of str
        For pip; if there are none, the Python of the benchmark runs it.
    """

    name: str
    title: str
    what: str
    requirements: tuple[str, ...] = ()


OURS = Peer(
    "napari-unet",
    "napari-unet",
    "`napari-unet train` with the preset `quick`, in bf16 where the processor has it",
)
PEERS = (
    Peer(
        "stardist",
        "StarDist",
        "from scratch, as its example notebook: 32 rays, patches of 256, the best "
        "epoch and the thresholds by 15 % of the images; it learns the insides of "
        "membranes as objects, for which it is not made",
        ("stardist==0.9.2", "tensorflow-cpu==2.15.1", "numpy==1.26.4", _FILES),
    ),
    Peer(
        "nnunet",
        "nnU-Net v2",
        "its 2-D configuration as it plans it, objects as cores and borders, all "
        "images in one fold, its prediction with four views; the learning rate falls "
        "over the minutes",
        ("nnunetv2==2.8.1", "torch==2.13.0", "scikit-image==0.26.0", _FILES),
    ),
    Peer(
        "monai",
        "MONAI U-Net",
        "residual U-Net, Dice, patches of 96 and the sliding window of its tutorial "
        "on 2-D segmentation; objects are connected pieces above 0.5, specks among "
        "them, and cells that touch are one",
        ("monai==1.6.1", "torch==2.13.0", "scikit-image==0.26.0", _FILES),
    ),
    Peer(
        "forest",
        "forest",
        "a random forest on features of single pixels, as many trees as the minutes "
        "allow, 100 at the most; objects are connected pieces above 0.5",
    ),
    Peer(
        "cellpose",
        "cellpose 3",
        "from random weights, with the settings of its training function; it learns "
        "the insides of membranes as objects",
        ("cellpose==3.1.1.3", "torch==2.13.0", _FILES),
    ),
)
# For `benchmarks.denoising`; it bounds what it needs, torchvision among it.
CAREAMICS = Peer(
    "careamics",
    "CAREamics",
    "Noise2Void with the defaults of its configuration, patches of 64",
    ("careamics==0.3.5", _FILES),
)
# Why others are not in the table.
NOT_RUN = {
    "cellpose 4 (cellpose-SAM)": "learns on from 1.2 GB of weights that it downloads",
    "CellSeg1": "learns on from the weights of Segment Anything, on a GPU",
}
