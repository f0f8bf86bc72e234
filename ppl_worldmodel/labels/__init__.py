"""Label switching: relabelling of states and of factors, alignment of draws, chains and engines."""
