"""What a TIFF states, which library reads it correctly, and its levels where it is a pyramid."""
