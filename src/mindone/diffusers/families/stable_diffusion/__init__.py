"""Stable Diffusion 1 and 2, and models distilled from them: High-Resolution Image Synthesis (Rombach et al. 2022)."""
