"""Ten programs that were not written for this package: those of NumPyro's documentation and test suite, made small.

Each file re-types the structure of one program, and has
    model     the program; every step returns, beside the carry, the state to judge, and the program returns all of them
    data()    a few simulated observations, as the program's keyword arguments
    SOURCE    which program it is, and where it is found
    STATUS    what an ideal exact reader says: "read: finite", "read: linear-Gaussian" or "refused: <why>"
and, where a state is finite, what NumPyro's own enumeration needs to be told:
    FREE_DIM             the first axis, counted from the right, that no plate uses
    log_masked_values()  log of the number of values of all masked latent sites. A masked site has log density zero at each of
                         its K values, so that the enumeration adds log K to the log evidence for each; here these values have
                         the weight 1 / K, and add nothing.
A refused one has REFUSAL instead, a pattern of what the refusal must say.
"""
