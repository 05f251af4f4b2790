"""FLUX.1: a transformer of two streams and then of one (Black Forest Labs 2024; arXiv 2506.15742, §2)."""
