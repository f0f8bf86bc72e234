"""Tests of reading NumPyro programs."""
