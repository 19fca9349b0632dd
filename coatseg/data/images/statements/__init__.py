"""What a file states of its pixels beside them: depth, palette, where there is no data, a place on Earth."""
