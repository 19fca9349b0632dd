"""Camera, light, ground, sky and film: what a street is seen in and with."""
