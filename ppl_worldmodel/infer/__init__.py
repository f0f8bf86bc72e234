"""Inference engines, one a file: a factory whose keywords are its settings makes `engine(model, data, key)`.

Each engine returns the same `xarray.DataTree` in ArviZ's schema (see `tree`), and leaves out what it does not answer.
"""
