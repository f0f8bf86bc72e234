"""Abstract interpretation of jaxprs: affinity, dependence, separation, and source lines."""
