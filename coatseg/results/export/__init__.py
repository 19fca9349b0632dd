"""A model to a file of another runtime, compared before it is kept."""
