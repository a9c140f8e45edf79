"""From probabilities to cells: segmenting, linking, merging, measuring."""
