"""Count what a unit costs on an FPGA."""
