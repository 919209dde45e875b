"""`custom`: a law from a user's functions, each checked before anything is compiled."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxglmm import links
from jaxglmm.errors import InputError
from jaxglmm.families.base import Support, WeightRole
from jaxglmm.families.user import Custom, Parameter

_LINKS = {"real": "identity", "positive": "log", "nonnegative": "log", "count": "log"}
_LINKS |= {"positive_count": "log"}  # logit where the responses lie between 0 and 1
_SUPPORTS = tuple(support for support in get_args(Support) if support != "ordinal")


def custom(
    log_prob: Callable[..., Any],
    *,
    parameters: Mapping[str, float] | None = None,
    support: Support = "real",
    link: str | float | links.AbstractLink | None = None,
    name: str | None = None,
    scales: Mapping[str, str | float | links.AbstractLink] | None = None,
    weight_role: WeightRole | None = None,
    takes: Literal["mu", "eta"] = "mu",
    initial_mean: Callable[..., Any] | None = None,
    mean: Callable[..., Any] | None = None,
    variance: Callable[..., Any] | None = None,
    simulate: Callable[..., Any] | None = None,
    cdf: Callable[..., Any] | None = None,
) -> Custom:
    """A family of your own, for `family=` of `jaxglmm.glmm`.

    Args:
        log_prob: the normalised log-density of one response, `log_prob(y, mu, *parameters)`: a
            function of scalars, written with `jax.numpy` (and `jax.scipy.special`), whose
            derivatives JAX takes to the fourth order. mu is what the link maps the linear
            predictor to: the mean, a median, a rate, as you like.
        parameters: of the law's own, in the order in which log_prob takes them: {name: a value of
            the right size}, on the natural scale. They are estimated; the search begins within
            e^10 times that value, and a parameter that ends e^15 times away is at its bound.
        support: which responses are possible: "real", "positive", "nonnegative" (zero or more),
            "count", "positive_count" (one or more), "unit_open" (between 0 and 1), "unit_closed"
            (0 and 1 included), "unit_zero" (0 included), "binomial" (successes of trials).
        link: None for identity, log or logit by the support.
        name: that summaries print; None for the name of log_prob.
        scales: {name: link} of parameters that are not positive: "identity" for either sign,
            "logit" for one between 0 and 1. The others are estimated on the log scale.
        weight_role: "multiplier": prior weights multiply log_prob outside; "dispersion": they are
            log_prob's last argument (and that of the functions below where they say so);
            "trials": so are the numbers of trials. None: "trials" for support "binomial", where y
            is the number of successes and mu a probability, else "multiplier".
        takes: "mu", or "eta": log_prob and the functions below get the linear predictor in place
            of mu, for laws that would lose accuracy in mu (a probability near 1).
        initial_mean: mu near a response, `initial_mean(y)` or `(y, weight)`, elementwise; None
            for y itself moved into the support.
        mean: E[y], `mean(mu, *parameters)` (scalars), where it is not mu; predictions give it.
        variance: Var(y), `variance(mu, *parameters)`, with the weight last (scalars).
        simulate: `simulate(key, mu, *parameters)`, with the weight last: draws for an array mu.
        cdf: P(response <= y), `cdf(y, mu, *parameters)`, with the weight last (scalars).

    Where variance, simulate or cdf are not given they follow from the density, which must then
    have one peak: by sums over the support, an integral and inversion.

    The first parameter, if positive, may have a `dispersion=` formula. A law of counts or trials
    may be given more zeros by `zero_inflation=`, one of positive responses or of those between 0
    and 1 zeros of a probability of their own.

    Families made twice from the same functions are equal and share compiled programs: define
    functions once, at the top of a module, rather than where the family is made.

    Returns:
        A frozen, hashable family.

    Raises:
        InputError: arguments that do not fit together, or a log_prob that cannot be called with
            them or does not return one number.
    """
    _check_callable("log_prob", log_prob)
    name = _named(log_prob) if name is None else name
    _check_choice("support", support, _SUPPORTS)
    _check_choice("takes", takes, ("mu", "eta"))
    own = _parameters(parameters or {}, scales or {})
    role = _role(support, weight_role)
    given = () if role == "multiplier" else ("weight",)
    names = tuple(p.name for p in own)
    _check_signature("log_prob", log_prob, ("y", takes, *names, *given))
    _check_signature("initial_mean", initial_mean, ("y", *given))
    _check_signature("mean", mean, (takes, *names))
    _check_signature("variance", variance, (takes, *names, *given))
    _check_signature("simulate", simulate, ("key", takes, *names, *given))
    _check_signature("cdf", cdf, ("y", takes, *names, *given))
    _check_scalar(log_prob, 2 + len(own) + len(given))
    return Custom(
        density=log_prob,
        link=links.get(_LINKS.get(support, "logit") if link is None else link),
        name=name,
        support=support,
        weight_role=role,
        parameters=own,
        takes_eta=takes == "eta",
        near=initial_mean,
        centre=mean,
        spread=variance,
        draw=simulate,
        distribution=cdf,
    )


def _named(function: Any) -> str:
    found = getattr(function, "__name__", "custom")
    return found if found.isidentifier() else "custom"  # a lambda


def _check_callable(argument: str, function: Any) -> None:
    if not callable(function):
        raise InputError(
            f"custom: {argument} must be a function, got {type(function).__name__}; write "
            "def log_prob(y, mu): ... with jax.numpy."
        )
    try:
        hash(function)
    except TypeError as error:
        raise InputError(
            f"custom: {argument} is a {type(function).__name__} without a hash, by which compiled "
            "programs are found. Give a plain function."
        ) from error


def _check_choice(argument: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        known = ", ".join(f"'{choice}'" for choice in choices)
        raise InputError(f"custom: {argument}={value!r} is not known; use one of {known}.")


def _role(support: Support, role: WeightRole | None) -> WeightRole:
    if role is None:
        return "trials" if support == "binomial" else "multiplier"
    _check_choice("weight_role", role, get_args(WeightRole))
    if (role == "trials") != (support == "binomial"):
        raise InputError(
            f"custom: weight_role='{role}' does not go with support='{support}': responses with "
            "trials have support='binomial', and no others have. Leave weight_role out."
        )
    return role


def _parameters(values: Any, scales: Any) -> tuple[Parameter, ...]:
    if not isinstance(values, Mapping) or not isinstance(scales, Mapping):
        raise InputError(
            "custom: parameters and scales are dicts, such as parameters={'size': 1.0} and "
            "scales={'shape': 'identity'}."
        )
    unknown = [str(name) for name in scales if name not in values]
    if unknown:
        raise InputError(
            f"custom: scales names '{unknown[0]}', which is none of the parameters "
            f"({', '.join(map(str, values)) or 'there are none'}). Correct or remove it."
        )
    return tuple(
        _parameter(name, v, links.get(scales.get(name, "log"))) for name, v in values.items()
    )


def _parameter(name: Any, value: Any, scale: links.AbstractLink) -> Parameter:
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(
            f"custom: a parameter cannot be called {name!r}; use a name such as 'size'."
        )
    try:
        start = float(value)
    except (TypeError, ValueError):
        start = math.nan
    inside = {"real": True, "positive": start > 0, "unit": 0 < start < 1}[scale.range]
    if not math.isfinite(start) or not inside:
        where = {"real": "a", "positive": "a positive", "unit": "between 0 and 1, a"}[scale.range]
        raise InputError(
            f"custom: parameters['{name}']={value!r} must be {where} finite number, near which the "
            "search begins. scales={name: 'identity'} allows either sign."
        )
    return Parameter(name, start, scale)


def _check_signature(argument: str, function: Any, names: tuple[str, ...]) -> None:
    """Refuse a function that cannot be called with these, or has one of them in another place."""
    if function is None:
        return
    _check_callable(argument, function)
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtin functions do not tell
        return
    expected = f"{argument}({', '.join(names)})"
    try:
        bound = signature.bind(*names).arguments
    except TypeError as error:
        raise InputError(
            f"custom: {argument} is called as {expected}, but is defined as "
            f"{argument}{signature} ({error}). Change its arguments, or parameters=."
        ) from error
    for place, value in bound.items():
        if place in names and value != place:
            raise InputError(
                f"custom: {argument} is called as {expected}, but is defined as "
                f"{argument}{signature}: '{place}' would get {value}. Give parameters= in the "
                "order of its arguments."
            )


def _check_scalar(log_prob: Callable[..., Any], num_arguments: int) -> None:
    """Refuse a log-density that JAX cannot trace or that is not one real number."""
    try:
        with jax.enable_x64(True):  # as the front end fits
            scalar = jax.ShapeDtypeStruct((), jnp.float64)
            found = jax.eval_shape(log_prob, *[scalar] * num_arguments)
    except jax.errors.JAXTypeError as error:
        raise InputError(
            "custom: JAX cannot trace log_prob. Write it with jax.numpy and jax.scipy.special in "
            "place of numpy, math and scipy, and jnp.where in place of if: "
            f"{str(error).splitlines()[0]}"
        ) from error
    shape, kind = getattr(found, "shape", None), getattr(found, "dtype", None)
    if shape != () or kind is None or not jnp.issubdtype(kind, jnp.floating):
        what = type(found).__name__ if shape is None else f"shape {shape} of {kind}"
        raise InputError(
            f"custom: log_prob must return one real number, the log-density of one response, but "
            f"returns {what} for scalar arguments. The library maps it over the rows."
        )
