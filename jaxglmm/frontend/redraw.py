"""The verbs of a fit that draw other responses from its model, or fit it to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxglmm.frontend.draws import draws_of_fit
from jaxglmm.frontend.part import Part

if TYPE_CHECKING:
    from jaxglmm.frontend.batch import Batch
    from jaxglmm.frontend.bootstrap import Bootstrap
    from jaxglmm.frontend.result import GLMM

Kind = Literal["conditional", "population"]


class Redraw(Part):
    """Other responses drawn, or fitted."""

    def simulate(
        self, num_draws: int, seed: int, kind: Kind = "population", *, first: int = 0
    ) -> np.ndarray:
        """New responses from the fitted model, at the estimates.

        Args:
            num_draws: number of data sets.
            seed: an integer, zero or more. Draw r of a seed is the same however many are asked
                for: simulate(3, seed=1) are the first rows of simulate(1000, seed=1).
            kind: "population" with new random effects, "conditional" at their modes.
            first: number of the first draw: a loop over simulate(100, seed, first=100 * k) makes
                what simulate(100 * K, seed) does, in less memory.

        Returns:
            Shape (num_draws, rows used), in the order of the data; rows that the fit dropped have
            no column. In the units of the response as the formula has it: numbers of successes for
            `cbind(s, f) ~` and `s / n ~`, proportions where the response was one, 0 or 1 for two
            categories, the categories of an ordinal response. Weights that multiply the
            log-density play no part. Rows of weight zero, which are out of the model, hold values
            without a meaning.
        """
        return draws_of_fit(self._fit, num_draws, seed, kind, first)

    def refit(self, y: Any) -> GLMM:
        """The same design and settings with another response.

        Args:
            y: shape (rows used,), in the units of the response as the formula has it (what
                `simulate` returns): numbers of successes for `cbind(s, f) ~` and `s / n ~`,
                proportions where the response was one, categories of an ordinal response.

        Raises:
            InputError: another shape, or values that the family does not allow.
        """
        from jaxglmm.frontend.many.refit import refit

        return refit(self._fit, y)

    def refit_many(
        self,
        Y: Any,
        *,
        weights: Any = None,
        offset: Any = None,
        chunk: int | None = None,
        modes: bool = False,
        progress: bool | None = None,
    ) -> Batch:
        """The same design and settings with many responses, on all cores or devices.

        Each model starts from closed forms of its own responses, which are nearer to its estimates
        than those of this fit (draws from it: 3.2 steps of the optimiser instead of 4.7 for cbpp,
        2.8 instead of 3.7 for 500 binary rows).

        Args:
            Y: shape (num_models, rows used), an array or a NumPy memory map; a data frame whose
                columns are models; or the path of a Parquet file of that kind. Units as in `refit`.
                NaN is a missing response: the row counts for nothing in that model.
            weights: of each model, in the form and shape of Y, in place of the fit's; trials where
                the response is a proportion without `trials=`.
            offset: of each model, added to what the fit has.
            chunk: most models that are read at once; None for what suits the design. No result
                depends on it.
            modes: keep the random effects of every model.
            progress: a bar on standard error; None for one in a terminal or notebook, once the
                work has taken a second.

        Returns:
            A `Batch`. Failure to converge is the status of a model, never an exception.
        """
        from jaxglmm.frontend.many.refit import refit_many

        return refit_many(
            self._fit,
            Y,
            weights=weights,
            offset=offset,
            chunk=chunk,
            modes=modes,
            progress=progress,
        )

    def bootstrap(
        self,
        num_draws: int,
        seed: int,
        kind: Literal["parametric", "cluster", "wild"] = "parametric",
        *,
        statistic: Callable[[dict[str, np.ndarray]], Any] | None = None,
        progress: bool | None = None,
    ) -> Bootstrap:
        """Refits to responses drawn like the data, or to drawn groups, on all cores or devices.

        Args:
            num_draws: number of data sets.
            seed: an integer, zero or more.
            kind: "parametric": draws of `simulate`, with new random effects. "cluster": whole
                levels of the outermost grouping factor (rows, without one) drawn with replacement,
                each copy a level of its own with all that is nested in it (Davison & Hinkley
                1997, section 3.8); every method, REML too, is that of a fit to the drawn table.
                Factors must be nested. "wild" (normal law,
                identity link): the residuals from X beta, those of a level of the outermost
                grouping factor with one random sign, which leaves their covariances what they are.
            statistic: what is wanted instead of the parameters: a function of {name: values}, of
                the shape (models,) each and named as in `Control.fixed`, that returns (models,) or
                (models, k).
            progress: as in `refit_many`.

        Returns:
            A `Bootstrap`: `confint(level, method)`, `replicates`, `counts`.

        Raises:
            InputError: a bootstrap that the model does not have.
        """
        from jaxglmm.frontend.bootstrap import bootstrap

        return bootstrap(self._fit, num_draws, seed, kind, statistic, progress)
