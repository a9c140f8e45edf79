"""What a network can learn: targets, sampling, loss, score, and what follows."""
