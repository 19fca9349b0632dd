"""What a run needs: parameter groups, optimizers, schedules, averages, checkpoints, logs, progress, pictures."""
