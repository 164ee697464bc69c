"""What each command does, from its checked config to its last line; imported when it is run."""
