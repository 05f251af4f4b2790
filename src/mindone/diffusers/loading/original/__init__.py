"""The original layout: one file for a whole model, as its authors published it.

`layout` is what a family declares of its files; here are also the networks that families share, as such files have
them, and what marks how a model was trained. `loading.single_file` puts the parts together.
"""
