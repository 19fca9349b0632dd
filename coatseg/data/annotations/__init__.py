"""Read truth files to arrays: lists of classes, id maps, layers, panoptic segments; boxes and masks in the rooms below."""
