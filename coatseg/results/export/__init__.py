"""Export a model to the file of another runtime, which is kept only if their outputs agree."""
