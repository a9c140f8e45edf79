"""`python -m napari_unet`, as `torchrun -m napari_unet`: the command line."""

import sys

from napari_unet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
