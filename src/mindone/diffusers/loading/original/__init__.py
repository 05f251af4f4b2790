"""The original layout: one file for a whole model, as its authors published it.

A family declares its files with `layout`; this package also holds the networks that families share in that layout, and
the marks of a model's training. `loading.single_file` puts the parts together.
"""
