"""Simulate and co-design accelerators for sparse and mixture-of-experts models."""

__all__ = ["__version__"]

__version__ = "0.1.0"
