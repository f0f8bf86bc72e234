"""Tests of exact inference on arrays."""
