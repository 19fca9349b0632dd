"""Read annotation files to arrays: class lists, boxes, masks, id maps, panoptic segments."""
