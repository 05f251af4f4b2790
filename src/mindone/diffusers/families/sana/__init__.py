"""Sana: text-to-image with linear attention and an autoencoder with factor 32 (Xie et al. 2024, arXiv 2410.10629)."""
