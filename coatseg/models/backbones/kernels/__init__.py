"""The computations of CoaT at full speed: less kept, fewer copies, each by the kernel that is fastest here."""
