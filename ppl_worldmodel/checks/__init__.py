"""Checks of one result against another; one check a file, found by listing the folder: `findings(candidate, reference)`."""
