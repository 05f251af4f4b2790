"""The families of models: each declares its parts and its use once; no higher layer knows a family by name."""
