"""Read image files to arrays, resize them, and find the images that a user names."""
