"""Gaussian states: the matrices of a linear-Gaussian step and start, and the proof that they are linear."""
