"""Whether a model is a special case of another, and which parameters are at a bound there."""

from jaxglmm.inference.nesting.fixed import fixed_within, same_inside
from jaxglmm.inference.nesting.laws import law_within
from jaxglmm.inference.nesting.random import random_within
from jaxglmm.inference.nesting.within import NOT_WITHIN, Within, joined

__all__ = [
    "NOT_WITHIN",
    "Within",
    "fixed_within",
    "joined",
    "law_within",
    "random_within",
    "same_inside",
]
