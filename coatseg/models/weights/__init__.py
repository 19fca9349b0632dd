"""Everything between a file of weights and a state dict."""
