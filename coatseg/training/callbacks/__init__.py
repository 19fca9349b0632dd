"""What happens beside the steps of a run: checkpoints, averages, pictures, progress, an early end."""
