"""Measure how fast the simulators are, with a warm-up and medians: ``python -m benchmarks.run``."""
