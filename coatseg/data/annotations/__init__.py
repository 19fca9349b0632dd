"""Read truth files to arrays: lists of classes, id maps, layers, panoptic segments; in rooms below, boxes and masks."""
