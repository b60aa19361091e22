"""One run: networks, data, the training loop, optimizers, hardware."""
