"""Estimated marginal means, their contrasts and slopes."""
