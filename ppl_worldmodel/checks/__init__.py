"""Is this belief right?  One check a file, found by listing the folder: a function `findings(candidate, reference, ...)`."""
