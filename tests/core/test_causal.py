"""Products of causal attention are counted as a mask drawn element by element has them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.causal import causal_products
from hwsim.core.formats.block_mask import mask_text, sample_mask
from hwsim.core.gemm import GemmDims
from hwsim.core.graph import Op, Operand, OpKind

small = st.integers(1, 7)


@given(small, small, st.integers(1, 90), st.integers(1, 90), small)
def test_a_query_sees_the_keys_up_to_its_own(
    groups: int, group: int, queries: int, keys: int, depth: int
) -> None:
    # The queries are the last tokens: one alone sees every key (a step), the first of more queries
    # than keys see none.
    seen = np.arange(keys) <= np.arange(keys - queries, keys)[:, None]
    expected = groups * group * depth * int(seen.sum())
    facts = {"heads": groups * group, "is_causal": True}
    scores = GemmDims(groups, group * queries, depth, keys)
    assert causal_products(scores, facts | {"grows": "n"}) == expected
    mix = GemmDims(groups, group * queries, keys, depth)
    assert causal_products(mix, facts | {"grows": "k"}) == expected


@given(st.integers(1, 3), st.integers(1, 200), st.floats(0, 1), st.integers(0, 9))
def test_masked_attention_counts_the_elements_that_its_blocks_keep(
    heads: int, tokens: int, density: float, seed: int
) -> None:
    mask = sample_mask(heads, tokens, density, np.random.default_rng(seed))
    facts = {"heads": heads, "grows": "n", "kept_blocks": mask_text(mask)}
    expected = 5 * sum(int(mask.elements(head).sum()) for head in range(heads))
    assert causal_products(GemmDims(heads, tokens, 5, tokens), facts) == expected


def test_only_causal_products_leave_some_out() -> None:
    def count(**attrs: object) -> tuple[int, int]:
        dims = {"batch": 2, "m": 3 * 8, "k": 16, "n": 8}
        inputs = (Operand(tensor="q"), Operand(tensor="keys"))
        op = Op(
            name="s", kind=OpKind.MATMUL, dims=dims, inputs=inputs, output="s", attrs=dict(attrs)
        )
        return op.macs(), op.useful_macs()

    dense = 2 * 24 * 16 * 8
    assert count(heads=6, is_causal=False, grows="n") == (dense, dense)
    assert count(heads=6, is_causal=True, grows="n") == (dense, dense * 9 // 16)  # (t + 1) / 2t
