"""From probabilities to cells: cutting, linking, joining, measuring."""
