"""The layout of a scene: which things stand where along the street."""
