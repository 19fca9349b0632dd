"""The formats of files of objects, each translated to entries of COCO's form."""
