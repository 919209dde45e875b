"""How much the random effects spread a linear predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxglmm.frontend.prediction_programs import prior
from jaxglmm.frontend.prediction_rows import fitted_rows, whole_prior

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM


def random_deviation(fit: GLMM, predictor: int) -> float:
    """sqrt of the mean over the rows of Var(z_i' b), all factors added up."""
    rows = fitted_rows(fit)
    variances = prior(fit, rows, whole_prior(rows))[predictor, predictor]
    return float(np.sqrt(np.mean(variances)))
