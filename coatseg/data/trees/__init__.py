"""Which files a dataset has: its folders, lists and splits, and the file of each image's truth."""
