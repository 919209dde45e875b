"""What the parts of a fit's class have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM


class Part:
    """Some verbs of `GLMM`, which alone derives from the parts."""

    @property
    def _fit(self) -> GLMM:
        return cast("GLMM", self)
