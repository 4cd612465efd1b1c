"""What a run leaves behind and how it goes on: checkpoints, signals, launchers, tables."""
