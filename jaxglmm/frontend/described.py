"""What a fitted model and many of one design have in common: the model itself, and its names."""

from __future__ import annotations

import numpy as np

from jaxglmm.design import Problem
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend.build import Labels
from jaxglmm.frontend.model import ModelData
from jaxglmm.links import AbstractLink


class Described:
    """A model by its formula, its arrays and their names."""

    formula: str
    problem: Problem
    labels: Labels

    @property
    def data(self) -> ModelData:
        """Arrays and names as the front end made them."""
        return self.labels.data

    @property
    def family(self) -> AbstractFamily:
        """The law."""
        return self.problem.family

    @property
    def link(self) -> AbstractLink:
        """The law's link."""
        return self.problem.family.link

    @property
    def counted(self) -> np.ndarray:
        """Which rows count, by a weight above zero; (obs,) bool."""
        return np.broadcast_to(self.problem.weights, self.problem.num_obs) > 0

    @property
    def held(self) -> dict[str, float]:
        """Parameters that were held at a value, by name (`Control.fixed`)."""
        return dict(self.labels.held)
