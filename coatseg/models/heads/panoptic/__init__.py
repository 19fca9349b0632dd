"""Heads that divide an image into segments, each a thing or a kind of stuff, without queries."""
