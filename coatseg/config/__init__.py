"""A configuration, or what a checkpoint holds, to objects: read once into a plan, checked, built."""
