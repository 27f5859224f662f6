"""Describe which elements of a tensor may be non-zero.

A pattern answers four questions for a tensor of a given shape: how many elements it keeps
(``kept``), what a random mask of it looks like (``sample_mask``), whether a mask obeys it
(``check``) and how many metadata bits its compact form needs (``metadata_bits``).
N:M patterns use ``nm_n`` of ``nm_m`` consecutive elements along ``axis``.
"""

from hwsim.core.sparsity.base import Dense, SparsityPattern, index_bits
from hwsim.core.sparsity.counted import NM, Group, PerBlockN, TopK
from hwsim.core.sparsity.placed import (
    Block,
    Channel,
    Composed,
    Explicit,
    Pattern,
    Unstructured,
    pattern_from_json,
)
from hwsim.core.sparsity.text import parse_pattern

__all__ = [
    "NM",
    "Block",
    "Channel",
    "Composed",
    "Dense",
    "Explicit",
    "Group",
    "Pattern",
    "PerBlockN",
    "SparsityPattern",
    "TopK",
    "Unstructured",
    "index_bits",
    "parse_pattern",
    "pattern_from_json",
]
