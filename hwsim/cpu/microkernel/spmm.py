"""Describe the SpMM micro-kernels: sparse weights times dense activations in CHW layout.

A strip of ``mr`` pixels is the outer loop, output channels the middle one, nonzeros the inner one
(Fast Sparse ConvNets' kernels; XNNPACK's ``f32-spmm``). Accumulators stay in registers; the strip
of all input channels is what the first cache level keeps; weights and increments stream once per
strip. Pixels that do not fill a strip run in strips of 8, 4, 2 and 1.

Three forms: ``plain``; ``u2``, two nonzeros per turn in two sets of accumulators; ``pipelined``,
where a turn multiplies what the one before has loaded and loads for the next.
"""

from __future__ import annotations

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.cpu.microkernel.ir import Kernel, KernelBuilder, Reg
from hwsim.cpu.microkernel.target import Target

__all__ = ["ARGUMENT_NAMES", "FORMS", "STRIP_PIXELS", "describe_spmm", "strip_widths"]

FORMS = ("plain", "u2", "pipelined")

STRIP_PIXELS = (1, 2, 4, 8, 12, 16, 32)
"""Pixels per strip that XNNPACK generates."""

ARGUMENT_NAMES = (
    "pixel_bytes",  # pixels x 4, at least 4
    "channels",  # output channels, at least 1
    "input",  # of the first nonzero's channel
    "weights",
    "dmap",
    "nnzmap",
    "output",
    "output_stride",  # bytes from an output channel to the next
)

_PREFETCH_BYTES = 64
_WEIGHTS_AHEAD_BYTES = 128


def strip_widths(pixels: int, mr: int) -> list[int]:
    """Return the widths of the strips that cover ``pixels``: whole ones, then powers of two."""
    rest = pixels % mr
    return [mr] * (pixels // mr) + [1 << bit for bit in (4, 3, 2, 1, 0) if rest >> bit & 1]


def describe_spmm(target: Target, mr: int, nr: int = 1, form: str = "plain") -> Kernel:
    """Return the kernel of ``mr`` pixels by ``nr`` output channels.

    Raises
    ------
    InputError
        If the form or a size is unknown; only ``nr`` = 1 has forms besides plain.
    """
    if mr not in STRIP_PIXELS:
        need = f"pixels per strip of {', '.join(map(str, STRIP_PIXELS))}"
        raise InputError("kernel", need, str(mr))
    if nr not in (1, 2, 4, 8, 16):
        raise InputError("kernel", "channels per block of 1, 2, 4, 8 or 16", str(nr))
    if form not in FORMS or (nr > 1 and form != "plain"):
        raise InputError("kernel", "plain, u2 or pipelined (blocks: plain)", f"{form} of {nr}")
    suffix = "" if form == "plain" else f"_{form}"
    k = KernelBuilder(f"spmm_{mr}x{nr}{suffix}", ARGUMENT_NAMES)
    remaining = k.args[0]
    with k.loop(remaining, 4 * mr, until="below"):
        _Strip(k, target, mr, is_tail=False).write(nr, form)
    for width in (16, 8, 4, 2, 1):
        if width < mr:
            with k.when(remaining, 4 * width, test="bit"):
                _Strip(k, target, width, is_tail=True).write(nr, "plain")
    return k.build()


class _Strip:
    """One strip of ``width`` pixels over all output channels."""

    def __init__(self, k: KernelBuilder, target: Target, width: int, *, is_tail: bool) -> None:
        self.k, self.target, self.width = k, target, width
        self.lanes = min(width, 4)
        self.count = ceil_div(width, 4)
        self.prefetches = target.has_prefetch and not is_tail
        _, _, self.input, *_ = k.args

    def write(self, nr: int, form: str) -> None:
        """Write the loops over output channels and advance input and output by the strip."""
        k = self.k
        _, channels, _, weights, dmap, nnzmap, output, _ = k.args
        with k.integers(6) as (self.w, self.d, self.z, self.o, left, self.nnz):
            for pointer, start in (
                (self.w, weights),
                (self.d, dmap),
                (self.z, nnzmap),
                (self.o, output),
                (left, channels),
            ):
                k.mov(pointer, start)
            if form == "pipelined":
                self._pipelined(left)
            elif nr == 1:
                with k.loop(left):
                    self._block(1, form)
            else:
                with k.loop(left, nr, until="below"):
                    self._block(nr, form)
                with k.when(left), k.loop(left):
                    self._block(1, form)
        k.addi(self.input, self.input, 4 * self.width)
        k.addi(output, output, 4 * self.width)

    # Pieces

    def _block(self, nr: int, form: str) -> None:
        """Write one block of ``nr`` output channels: bias, nonzeros, clamp, stores."""
        k = self.k
        self._read_count()
        with k.vectors(self.count * nr) as acc:
            for channel in range(nr):
                first, *others = acc[channel * self.count : (channel + 1) * self.count]
                k.emit("load_dup", (first,), (self.w,), post=4)
                for reg in others:
                    k.mov(reg, first)
            if form == "u2":
                self._two_by_two(acc)
            else:
                with k.when(self.nnz), k.loop(self.nnz):
                    self._nonzero(acc, nr)
            self._finish(acc, nr)

    def _two_by_two(self, acc: list[Reg]) -> None:
        k = self.k
        with k.vectors(self.count) as second:
            for reg in second:
                k.emit("zero", (reg,))
            with k.loop(self.nnz, 2, until="below"):
                self._nonzero(acc, 1)
                self._nonzero(second, 1)
            for reg, other in zip(acc, second, strict=True):
                k.emit("add", (reg,), (reg, other), lanes=self.lanes)
        with k.when(self.nnz):
            self._nonzero(acc, 1)

    def _nonzero(self, acc: list[Reg], nr: int) -> None:
        """Write the multiply-adds of one nonzero block."""
        k = self.k
        if not self.target.has_lane_operand:
            self._nonzero_by_broadcast(acc, nr)
            return
        with k.integers(1) as (step,), k.vectors(self.count) as pixels:
            width = ceil_div(nr, 4)
            with k.vectors(width) as weights:
                if nr == 1:
                    k.emit("load_dup", (weights[0],), (self.w,), post=4)
                else:
                    for reg in weights:
                        k.load(reg, self.w, lanes=min(nr, 4), post=4 * min(nr, 4))
                k.emit("load_s32", (step,), (self.d,), post=4)
                self._load_pixels(pixels)
                k.add(self.input, self.input, step)
                # Prefetches stand between multiply-adds, where dispatch slots are free.
                for turn, channel in enumerate(range(nr)):
                    for at, pixel in enumerate(pixels):
                        self._accumulate(acc, nr, channel, at, pixel, weights)
                        if turn == at == 0:
                            self._prefetch_pixels()
                    if turn == 0:
                        self._prefetch_weights()

    def _accumulate(
        self, acc: list[Reg], nr: int, channel: int, at: int, pixel: Reg, weights: list[Reg]
    ) -> None:
        """Write one multiply-add: by lane of the weights of a block, else by the broadcast one."""
        total, lanes = acc[channel * self.count + at], max(self.lanes, 2)
        if nr == 1:
            self.k.emit("fma", (total,), (pixel, weights[0]), lanes=lanes)
            return
        factors = (pixel, weights[channel // 4])
        self.k.emit("fma_lane", (total,), factors, imm=channel % 4, lanes=lanes)

    def _nonzero_by_broadcast(self, acc: list[Reg], nr: int) -> None:
        """Write the same with broadcast weights; each load stands before its use.

        An x86-64 engine can then fold the load of pixels into the multiplication.
        """
        k = self.k
        with k.vectors(nr) as weights, k.vectors(1) as (pixel,):
            for channel, reg in enumerate(weights):
                k.emit("load_dup", (reg,), (self.w,), imm=4 * channel)
            k.addi(self.w, self.w, 4 * nr)
            for at in range(self.count):
                k.load(pixel, self.input, 16 * at, lanes=self.lanes)
                for channel, weight in enumerate(weights):
                    total = acc[channel * self.count + at]
                    k.emit("fma", (total,), (pixel, weight), lanes=self.lanes)
            with k.integers(1) as (step,):
                k.emit("load_s32", (step,), (self.d,), post=4)
                k.add(self.input, self.input, step)

    def _pipelined(self, left: Reg) -> None:
        """Write the software-pipelined loop over output channels."""
        k = self.k
        with k.vectors(self.count + 1) as (weight, *pixels), k.integers(1) as (step,):
            k.emit("load_dup", (weight,), (self.w,), post=4)
            k.emit("load_s32", (step,), (self.d,), post=4)
            self._load_pixels(pixels)
            self._prefetch_pixels()
            with k.loop(left), k.vectors(self.count) as acc:
                self._read_count()
                for reg in acc:
                    k.mov(reg, weight)
                k.emit("load_dup", (weight,), (self.w,), post=4)
                with k.when(self.nnz), k.loop(self.nnz):
                    self._multiply(acc, pixels, weight)
                    k.add(self.input, self.input, step)
                    k.emit("load_s32", (step,), (self.d,), post=4)
                    self._load_pixels(pixels)
                    k.emit("load_dup", (weight,), (self.w,), post=4)
                    self._prefetch_pixels()
                    if self.width > 16:
                        self._prefetch_weights()
                self._finish(acc, 1)

    def _read_count(self) -> None:
        self.k.emit("load_u32", (self.nnz,), (self.z,), post=4)

    def _load_pixels(self, pixels: list[Reg]) -> None:
        for at, reg in enumerate(pixels):
            self.k.load(reg, self.input, 16 * at, lanes=self.lanes)

    def _multiply(self, acc: list[Reg], pixels: list[Reg], weight: Reg) -> None:
        for total, pixel in zip(acc, pixels, strict=True):
            self.k.emit("fma", (total,), (pixel, weight), lanes=max(self.lanes, 2))

    def _prefetch_pixels(self) -> None:
        """Ask for the lines of the next strip, one per 16 pixels."""
        if self.prefetches:
            for group in range(ceil_div(self.width, 16)):
                self.k.emit("prefetch", (), (self.input,), imm=_PREFETCH_BYTES * (group + 1))

    def _prefetch_weights(self) -> None:
        if self.prefetches:
            self.k.emit("prefetch", (), (self.w,), imm=_WEIGHTS_AHEAD_BYTES)

    def _finish(self, acc: list[Reg], nr: int) -> None:
        """Clamp and store one block; move the output to the channel behind it."""
        k = self.k
        stride = k.args[7]
        k.clamp(acc, lanes=self.lanes)
        for channel in range(nr):
            for at in range(self.count):
                k.store(acc[channel * self.count + at], self.o, 16 * at, lanes=self.lanes)
            k.add(self.o, self.o, stride)
