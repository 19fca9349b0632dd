"""Objects in COCO's form: checked, mended, chosen, and painted."""
