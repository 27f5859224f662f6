"""Units of the SAT N:M training accelerator."""
