"""The original layout: one file for a whole pipeline, as the authors of Stable Diffusion published it.

Latent Diffusion's code names the parts ``model.diffusion_model`` (the UNet), ``first_stage_model`` (the autoencoder),
``cond_stage_model`` or ``conditioner.embedders`` (the text encoders) and ``control_model``; a file of key maps for each
of them is here, and what a config says is read from the shapes. `loading.single_file` puts them together.
"""
