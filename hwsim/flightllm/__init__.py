"""FlightLLM: a sparse-DSP accelerator for language models (Zeng et al., FPGA 2024)."""
