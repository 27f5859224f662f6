"""Micro-kernels: one description each, lowered to AArch64, WebAssembly and micro-ops."""
