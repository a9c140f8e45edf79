#!/bin/bash
#SBATCH --job-name=napari-unet
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120

# The driver: it reads events and merges ids, and wants no GPU. The workers are jobs of
# their own, as queue.yaml says. Run again after it ended: it goes on where it was.
CLUSTER=${CLUSTER:-slurm:1-20}
MODEL=${MODEL:-nuclei}

exec napari-unet predict "$MODEL" "$1" --output "$2" \
    --cluster "$CLUSTER" ${OPTIONS:+--cluster-options "$OPTIONS"}
