"""Stable Diffusion 3 and 3.5: a transformer of two streams, image and text (Esser et al. 2024, arXiv 2403.03206)."""
