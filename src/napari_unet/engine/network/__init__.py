"""The U-Net, made ready to compute."""
