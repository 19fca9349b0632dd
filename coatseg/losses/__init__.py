"""The losses of dense prediction, which training minimises."""
