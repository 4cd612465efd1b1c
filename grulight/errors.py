"""The one exception for input that a user can mend."""


class InputError(ValueError):
    """Bad input: what was wrong, where (file, row, key), what was expected, what to do.

    The message is one line; the command line prints it without a traceback and exits with code 2.
    """
