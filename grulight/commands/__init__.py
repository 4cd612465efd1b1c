"""What each command of the command line does, one file each, and the LightningCLI they share."""
