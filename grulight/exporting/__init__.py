"""Files for other programs: written, opened again, and compared with the checkpoint."""
