"""What the readers of datasets share: files of images and masks or objects, to samples."""
