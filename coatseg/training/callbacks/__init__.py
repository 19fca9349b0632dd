"""Callbacks of a run, for what happens besides its steps: checkpoints, averages, pictures, progress, an early end."""
