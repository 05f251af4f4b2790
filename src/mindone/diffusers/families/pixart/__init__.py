"""PixArt-α and -Σ: text-to-image with a small transformer (Chen et al. 2023, 2024, arXiv 2310.00426, 2403.04692)."""
