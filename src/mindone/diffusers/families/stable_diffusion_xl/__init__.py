"""Stable Diffusion XL and what is distilled from it: SDXL (Podell et al. 2023)."""
