"""A checkpoint's bytes become what it holds: described once, checked, and nothing in it is run."""
