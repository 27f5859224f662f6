"""The golden layers agree with sums written out element by element."""

from __future__ import annotations

import numpy as np

from hwsim.cpu.golden import clamp, conv_first, depthwise, gemm, global_mean, spmm


def integers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def at(x: np.ndarray, *index: int) -> float:
    """Return x[index], or 0 outside."""
    inside = all(0 <= i < extent for i, extent in zip(index, x.shape, strict=True))
    return float(x[index]) if inside else 0.0


def test_products_are_the_sums_of_their_terms() -> None:
    weights, bias, x = integers(1, 3, 4), integers(2, 3), integers(3, 4, 5)
    expected = [
        [bias[o] + sum(weights[o, c] * x[c, p] for c in range(4)) for p in range(5)]
        for o in range(3)
    ]
    np.testing.assert_array_equal(spmm(weights, bias, x), expected)
    np.testing.assert_array_equal(gemm(x.T, weights, bias), np.transpose(expected))


def test_the_first_convolution_pads_by_one_and_steps_by_two() -> None:
    x, weights, bias = integers(1, 5, 4, 3), integers(2, 2, 3, 3, 3), integers(3, 2)
    out = conv_first(x, weights, bias)
    assert out.shape == (2, 3, 2)
    for o, row, col in np.ndindex(out.shape):
        terms = (
            at(x, 2 * row + r - 1, 2 * col + c - 1, i) * weights[o, i, r, c]
            for r, c, i in np.ndindex(3, 3, 3)
        )
        assert out[o, row, col] == bias[o] + sum(terms)


def test_depthwise_convolutions_of_both_sizes_and_strides() -> None:
    for size, stride in np.ndindex(2, 2):
        kernel, step = 3 + 2 * size, stride + 1
        x, weights, bias = integers(1, 2, 5, 6), integers(2, 2, kernel, kernel), integers(3, 2)
        out = depthwise(x, weights, bias, step)
        assert out.shape == (2, (5 - 1) // step + 1, (6 - 1) // step + 1)
        for c, row, col in np.ndindex(out.shape):
            terms = (
                at(x, c, step * row + i - kernel // 2, step * col + j - kernel // 2)
                * weights[c, i, j]
                for i, j in np.ndindex(kernel, kernel)
            )
            assert out[c, row, col] == bias[c] + sum(terms)


def test_mean_and_clamp() -> None:
    assert global_mean(np.array([[1.0, 2.0, 6.0]])).tolist() == [3.0]
    assert clamp(np.array([-2.0, 0.5, 9.0]), 0, 6).tolist() == [0, 0.5, 6]
