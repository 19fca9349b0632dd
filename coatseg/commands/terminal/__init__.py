"""What the commands share: reading of arguments, printing, and progress."""
