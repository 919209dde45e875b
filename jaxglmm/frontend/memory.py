"""What a model needs in memory, before anything is allocated."""

from __future__ import annotations

from jaxglmm.design import Grouping
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend.checks import machine_memory
from jaxglmm.frontend.model import ModelData
from jaxglmm.pattern import Plan, peak_bytes


def check_memory(
    found: Plan, data: ModelData, groupings: tuple[Grouping, ...], family: AbstractFamily
) -> None:
    """Refuse a model whose fit would not fit in the memory of this machine."""
    num_obs, num_fixed = data.X.shape
    needed = peak_bytes(
        found,
        num_obs,
        [g.num_levels for g in groupings],
        [max(g.num_columns, g.num_latent) for g in groupings],
        num_fixed,
        num_fixed + sum(g.num_theta for g in groupings) + family.num_phi,
    )
    installed = machine_memory()
    if needed <= installed:
        return
    effects = " and ".join(
        f"{named.num_columns * named.num_levels} of '{g.name}'"
        for named, g in zip(groupings, data.groupings, strict=True)
    )
    of_effects = f", its random effects being {effects}" if effects else ""
    remedy = (
        "Leave Control(factorisation=...) at 'auto'"
        if found.choice in ("crossed", "paired")
        else "Use fewer rows, columns or levels"
    )
    raise InputError(
        f"The model needs about {1e-9 * needed:,.1f} GB of memory for its {num_obs} rows"
        f"{of_effects} (factorisation: {found.choice}), but this machine has "
        f"{1e-9 * installed:,.1f} GB. {remedy}, or take a larger machine."
    )
