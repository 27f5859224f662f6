"""Turn a layer's weights into integers, and into what of them lies in a machine's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.formats.gqsa import GROUP, encode_group_sparse, quantized_groups
from hwsim.core.formats.qmoe import encode_rows, ternary_digits, ternary_values
from hwsim.core.formats.quantized import int8_codes
from hwsim.core.graph import Op
from hwsim.flightllm.gqsa_engine import fixed_scales
from hwsim.flightllm.plan import coding_of
from hwsim.flightllm.spec import FlightSpec

__all__ = ["WeightCodes", "weight_codes"]

Array = NDArray[Any]


@dataclass(frozen=True)
class WeightCodes:
    """Weights of an op as integers times a scale per column.

    Attributes
    ----------
    codes : int8 or int64[groups, k, n]
        Never encoded: what the golden model multiplies by.
    scales : float32[groups, 1, n]
    stored : dict[str, array]
        The program's tensors, without the op's name.
    """

    codes: Array
    scales: Array
    stored: dict[str, Array]


def weight_codes(op: Op, weights: Array, mask: Array | None, spec: FlightSpec) -> WeightCodes:
    """Return ``weights`` [groups, k, n], zero outside ``mask``, as ``spec`` stores them."""
    coding = coding_of(op, spec)
    if coding == "gqsa" and mask is not None:
        return _grouped(weights[0], mask[0], spec)
    if coding == "qmoe":
        return _ternary(weights[0], spec)
    codes, scales = int8_codes(weights, 1)
    return WeightCodes(codes, scales, {"b": codes} | ({} if mask is None else {"mask": mask}))


def _ternary(weights: Array, spec: FlightSpec) -> WeightCodes:
    """Return QMoE's rows; minimum and maximum of a row are INT8 codes of the column's scale."""
    digits, limits = ternary_digits(np.ascontiguousarray(weights.T))
    values = ternary_values(digits, limits)
    codes, scales = int8_codes(values.T[None], 1)
    ends = ternary_values(np.tile(np.array([1, 2], np.uint8), (len(digits), 1)), limits)
    # An end that no weight has may exceed the column's scale.
    row_codes = np.clip(np.rint(ends / scales[0].T), -127, 127).astype(np.int8)
    compact = encode_rows(digits, limits, spec.experts.unit.entries)
    stored = {"codewords": compact.codewords, "row_offsets": compact.row_offsets}
    return WeightCodes(codes, scales, stored | {"row_codes": row_codes})


def _grouped(weights: Array, mask: Array, spec: FlightSpec) -> WeightCodes:
    """Return GQSA's groups; a group's scale is a fixed-point share of its column's largest one."""
    padding = ((0, 0), (0, -len(weights) % GROUP))
    rows, kept = (np.pad(x.T, padding) for x in (weights, mask))
    compact = encode_group_sparse(rows, kept.reshape(len(kept), -1, GROUP).any(axis=2))
    pointers = compact.row_ptr.astype(np.int64)
    owner = np.repeat(np.arange(len(rows)), np.diff(pointers))
    largest = np.zeros(len(rows), np.float32)
    np.maximum.at(largest, owner, compact.scales.astype(np.float32))
    largest[largest == 0] = 1
    groups, bits = spec.groups, spec.groups.scale_fraction_bits
    share = compact.scales.astype(np.float32) / largest[owner]
    scales = fixed_scales(share, bits, groups.unit.scale_bits)
    shifted = quantized_groups(compact) - compact.zeros[:, None].astype(np.int64)
    codes = np.zeros((len(rows), rows.shape[1] // GROUP, GROUP), np.int64)
    codes[owner, compact.group_columns] = shifted * scales[:, None]
    stored = {
        "row_ptr": compact.row_ptr,
        "group_columns": compact.group_columns,
        "values": compact.values,
        "zeros": compact.zeros,
        "scales": scales.astype(np.uint16),
    }
    columns = np.ldexp(largest, -bits)[None, None].astype(np.float32)
    codes = codes.reshape(len(rows), -1)[:, : len(weights)].T[None]
    return WeightCodes(np.ascontiguousarray(codes), columns, stored)
