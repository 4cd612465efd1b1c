"""Sequences: ``readers`` read and check, ``splitting`` splits, ``datamodule`` serves batches."""
