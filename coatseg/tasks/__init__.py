"""LightningModules: a loss and a decoding each."""
