"""Identifiability: Fisher information, rank conditions, invariants, recovery, prior sensitivity. One topic a file."""
