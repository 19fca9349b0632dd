"""What a run needs: parameter groups, schedules, checkpoints, logs, progress, pictures."""
