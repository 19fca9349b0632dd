"""The checks of a dataset, a kind of thing a file: images, labels, objects, and what can teach nothing."""
