"""Truth files to arrays."""
