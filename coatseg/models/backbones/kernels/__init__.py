"""The computations of CoaT at full speed: less memory, fewer copies, the fastest kernel for device and precision."""
