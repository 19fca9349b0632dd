"""What knows nothing of images: files and folders that are whole or absent, downloads, archives, memory, time."""
