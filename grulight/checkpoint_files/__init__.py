"""A checkpoint's bytes become what it holds: described once, checked, and nothing in it is run.

Read `reader`, then `format` for what is in a checkpoint and `archive` for how its file is checked.
"""
