"""Units that more than one machine uses."""
