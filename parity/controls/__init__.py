"""Known wrong ports: negative controls that every check has to catch."""
