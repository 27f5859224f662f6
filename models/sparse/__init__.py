"""Sparse matrices as inputs: generators, readers, and graphs of sparse products over them."""
