"""Units of the PIUMA threaded machine."""
