"""Sequences: read, checked, split and served in batches."""
