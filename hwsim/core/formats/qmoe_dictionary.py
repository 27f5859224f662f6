"""Build QMoE's dictionary: the 65,536 likeliest sequences of ternary weight pairs.

A weight pair is a symbol r = t0 + 3 t1 of two ternary digits; pairs are taken as independent with
P(0) = 0.885 and P(1) = P(2) = (1 - 0.885) / 2 in IEEE double precision. Best-first search pops the
likeliest sequence of 1 to 14 pairs, ties by the sequence itself, until the dictionary is full
(Frantar and Alistarh 2023, QMoE, and the authors' code IST-DASLab/qmoe). Sums and products keep
the authors' order, because ties and with them the whole table hang on rounding.
"""

from __future__ import annotations

from functools import lru_cache
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CODEWORDS",
    "MAX_PAIRS",
    "PAIR_SYMBOLS",
    "ZERO_PROBABILITY",
    "dictionary",
    "dictionary_words",
    "sequence_trie",
    "symbol_table",
]

CODEWORDS = 65536
MAX_PAIRS = 14
PAIR_SYMBOLS = 9
ZERO_PROBABILITY = 0.885
PAIRS_PER_WORD = 7


@lru_cache(maxsize=2)
def dictionary(codewords: int = CODEWORDS) -> tuple[tuple[int, ...], ...]:
    """Return the sequences of pair symbols r = t0 + 3 t1 by codeword, likeliest first."""
    other = (1 - ZERO_PROBABILITY) / 2
    single = (ZERO_PROBABILITY, other, other)
    # Child number 3 i + j is the pair (i, j), in the authors' order of products.
    pairs = [(1.0 * single[i]) * single[j] for i in range(3) for j in range(3)]
    heap: list[tuple[float, tuple[int, ...]]] = [(-1.0, ())]
    found: list[tuple[int, ...]] = []
    while len(found) < codewords:
        negative, sequence = heappop(heap)
        if sequence:
            found.append(sequence)
        if len(sequence) < MAX_PAIRS:
            for symbol, probability in enumerate(pairs):
                heappush(heap, (negative * probability, (*sequence, symbol)))
    return tuple(found)


@lru_cache(maxsize=2)
def symbol_table(codewords: int = CODEWORDS) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (pair symbols uint8[codewords, 14], zeros behind the last; pairs int64[codewords])."""
    sequences = dictionary(codewords)
    pairs = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    symbols = np.zeros((codewords, MAX_PAIRS), dtype=np.uint8)
    symbols[np.arange(MAX_PAIRS) < pairs[:, None]] = [s for q in sequences for s in q]
    return symbols, pairs


def dictionary_words(codewords: int = CODEWORDS) -> NDArray[np.uint32]:
    """Return the decoder's table : uint32[2 * codewords].

    Two words per codeword: bits 3..0 of both hold the number of pairs; from bit 4 on, four bits
    per pair, the even weight in the lower two; pairs 0 to 6 in the first word, 7 to 13 in the
    second; what is not used is zero.
    """
    symbols, pairs = symbol_table(codewords)
    digits = (symbols % 3 | symbols // 3 << 2).astype(np.uint32)
    places = digits.reshape(codewords, 2, PAIRS_PER_WORD) << 4 + 4 * np.arange(
        PAIRS_PER_WORD, dtype=np.uint32
    )
    halves: NDArray[np.uint32] = np.bitwise_or.reduce(places, axis=2)
    words: NDArray[np.uint32] = pairs.astype(np.uint32)[:, None] | halves
    return words.ravel()


@lru_cache(maxsize=2)
def sequence_trie(codewords: int = CODEWORDS) -> NDArray[np.int32]:
    """Return where each pair symbol leads : int32[codewords + 1, 9], -1 for nowhere.

    Row c is the sequence of codeword c; the last row is the empty sequence. Every sequence's
    beginnings are in the dictionary, so every node is a codeword.
    """
    known = {sequence: codeword for codeword, sequence in enumerate(dictionary(codewords))}
    trie = np.full((codewords + 1, PAIR_SYMBOLS), -1, dtype=np.int32)
    for sequence, codeword in known.items():
        parent = known[sequence[:-1]] if len(sequence) > 1 else codewords
        trie[parent, sequence[-1]] = codeword
    trie.setflags(write=False)
    return trie
