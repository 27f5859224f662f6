"""Run generated kernels for real: WebAssembly in an engine, AArch64 in an emulator."""
