"""The tasks: LightningModules, each with a loss and a decoding."""
