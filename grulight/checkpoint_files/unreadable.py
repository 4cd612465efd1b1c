"""What keeps a file from being read as a checkpoint."""

MAX_DEPTH = 128  # a Keras description nests to 100; what copies a checkpoint recurses
MAX_REPEATS = 10  # how often a pickle may name what it holds once, on average


class Unreadable(Exception):
    """Why a file is no checkpoint, in words."""
