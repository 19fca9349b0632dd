"""What a run needs: optimization, callbacks, records of what happened, its folder, and the trainer."""
