"""Encode tensors exactly as machines store them, and decode them again.

One module per format, all in numpy: :mod:`~hwsim.core.formats.nm` N:M values and indices,
:mod:`~hwsim.core.formats.block_nm` N:16 blocks with an N of their own,
:mod:`~hwsim.core.formats.block_mask` attention by blocks, :mod:`~hwsim.core.formats.quantized`
integers with a scale per group, :mod:`~hwsim.core.formats.gqsa` rows of kept four-bit groups and
:mod:`~hwsim.core.formats.qmoe` ternary rows in dictionary codewords.
"""

from hwsim.core.formats.nm import NMCompact, decode_nm, encode_nm, nm_compact_bits

__all__ = ["NMCompact", "decode_nm", "encode_nm", "nm_compact_bits"]
