"""Reading NumPyro programs: exact structure (`read`), states integrated out (`marginalize`), run forward (`simulate`), `load`."""

from ppl_worldmodel.program.marginalize import marginalize
from ppl_worldmodel.program.parameters import given
from ppl_worldmodel.program.reading import read
from ppl_worldmodel.program.simulate import simulate

__all__ = ["given", "marginalize", "read", "simulate"]
