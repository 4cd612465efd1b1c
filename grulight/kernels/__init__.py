"""The arithmetic of the GRU."""
