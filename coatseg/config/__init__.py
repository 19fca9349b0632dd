"""From a configuration or a checkpoint to objects: it is read once into a plan, checked, and built."""
