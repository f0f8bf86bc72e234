"""Slow oracles: exact answers computed straight from a definition, sharing no code with the package they referee."""
