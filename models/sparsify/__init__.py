"""Pruners: give the weights of a graph a sparsity pattern."""
