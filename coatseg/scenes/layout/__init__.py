"""What stands where: a file for each kind of things, by where they may be."""
