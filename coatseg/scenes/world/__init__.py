"""The world of a scene without its things: camera, light, street, ground, sky, canvas and photograph."""
