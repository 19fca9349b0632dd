"""Names to constructors, and signatures to schemas of options."""
