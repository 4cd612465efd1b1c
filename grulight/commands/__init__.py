"""What each command does, one file each; they share ``lightning_cli`` and ``running``."""
