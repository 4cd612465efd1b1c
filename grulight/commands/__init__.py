"""What each command does, one file each; they share ``command_cli`` and ``running``."""
