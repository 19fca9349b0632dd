"""Parameter groups, optimizers, learning rates."""
