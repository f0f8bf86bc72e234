"""Model comparison: evidence, leave-future-out scores, sufficiency tests, stateless baselines. One comparison a file."""
