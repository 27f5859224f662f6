"""Play one set of vectors against a unit on two RTL simulators and check what was seen."""
