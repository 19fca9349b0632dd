"""Services that know nothing of images: files that are whole or absent, downloads, archives, memory and timing."""
