"""Stable Diffusion XL and models distilled from it: SDXL (Podell et al. 2023)."""
