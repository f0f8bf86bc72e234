"""Identifiability: Fisher information, rank conditions, invariants, recovery of the truth, prior sensitivity. One topic a file."""
