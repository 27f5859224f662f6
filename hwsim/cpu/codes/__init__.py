"""Code of every layer a core runs, in the micro-op form: one file per family of kernels."""
