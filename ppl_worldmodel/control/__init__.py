"""Acting on a belief: decision problems read off programs, exact planning, policies that are functions of a belief."""

from ppl_worldmodel.control.pomdp import Pomdp
from ppl_worldmodel.control.read_decision import read_decision
from ppl_worldmodel.control.value_iteration import Stage, value_iteration

__all__ = ["Pomdp", "Stage", "read_decision", "value_iteration"]
