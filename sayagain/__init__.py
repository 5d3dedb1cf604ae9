"""The front door: the command line, nothing else. Rooms are imported when a command needs them."""
