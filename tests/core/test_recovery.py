"""The bar of `benchmarks/recovery.py` on a few laws: 200 data sets each."""

from __future__ import annotations

import numpy as np
import pytest

from jaxglmm import families

from .recovery import make_study, replicate, summarise

NUM_REPLICATES = 200
MODELS = {
    "gaussian": families.get("gaussian"),
    "binomial": families.get("binomial"),
    "nbinom2": families.get("nbinom2"),
    "poisson+zi": families.modelled(families.get("poisson"), zero_inflation=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_estimates_are_those_of_exact_maximum_likelihood(name):
    """Their means within three Monte-Carlo errors of its; intervals of the fixed effects cover 93
    to 97 %, up to three Monte-Carlo errors of that."""
    study = make_study(MODELS[name])
    found = [replicate(study, [11, k]) for k in range(NUM_REPLICATES)]
    rows = summarise(name, study, found)
    assert rows[0].used >= 0.98 * NUM_REPLICATES, rows[0].statuses
    # Laplace's approximation is exact for gaussian; both searches stop within 1e-4 errors.
    most = 1e-4 * np.sqrt(NUM_REPLICATES) * 3 if name == "gaussian" else 3.0
    for row in rows:
        assert abs(row.apart) < most, row
    within = 0.02 + 3 * np.sqrt(0.95 * 0.05 / NUM_REPLICATES)
    for row in rows[: study.truth.beta.size]:
        assert abs(row.coverage - 0.95) < within, row
