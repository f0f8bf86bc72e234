"""Missing data: masked entries of observed sites, and unobserved values that a program goes on to use."""
