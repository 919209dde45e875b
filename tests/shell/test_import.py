"""Importing and fitting leave the process as it was."""

from __future__ import annotations

import json
import subprocess
import sys

IMPORT = """
import sys
import jaxglmm
heavy = ("jax", "jaxlib", "pandas", "scipy", "formulaic", "narwhals", "matplotlib", "numpy")
print([name for name in heavy if name in sys.modules])
"""

NAMES = """
import jax, json
from jax import monitoring
before = dict(jax.config.values)
events = []
monitoring.register_event_duration_secs_listener(lambda event, *_, **__: events.append(event))
import jaxglmm as jg
names = {name: getattr(jg, name) is not None for name in jg.__all__}
after = dict(jax.config.values)
changed = [name for name in after if before.get(name) != after[name]]
seen = list(events)
print(json.dumps([sorted(names), changed, seen, str(jax.numpy.ones(2).dtype)]))
"""

PUBLIC = """
import importlib, pkgutil
import jaxglmm as jg
for module in pkgutil.walk_packages(jg.__path__, "jaxglmm."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import types
print([name for name in jg.__all__ if isinstance(getattr(jg, name), types.ModuleType)])
"""

FIT = """
import jax, json, warnings
import jax.numpy as jnp
warnings.simplefilter("error")
before = dict(jax.config.values)
import jaxglmm as jg
fit = jg.glmm("y ~ x", {"y": [1.0, 2.5, 2.0, 4.0], "x": [0.0, 1.0, 2.0, 3.0]})
fit.fixed_effects(vcov="conditional"), fit.predict({"x": [1.0]}), str(fit.summary())
changed = [name for name in before if before[name] != jax.config.values[name]]
print(json.dumps([changed, str(jnp.ones(2).dtype), jax.config.jax_enable_x64,
                  str(fit.estimate.params.beta.dtype)]))
"""


def output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_importing_loads_nothing_heavy() -> None:
    assert output(IMPORT) == "[]"


def test_every_name_resolves_without_changing_jax_or_compiling() -> None:
    names, changed, events, dtype = json.loads(output(NAMES))
    assert {"glmm", "build", "load", "log_likelihood", "maximise", "Control"} <= set(names)
    assert changed == [] and events == []
    assert dtype == "float32"


def test_no_module_hides_a_function() -> None:
    modules = ["datasets", "families", "links", "covariance", "priors"]
    assert output(PUBLIC) == str(modules)


def test_a_fit_leaves_double_precision_off() -> None:
    changed, dtype, enabled, inside = json.loads(output(FIT))
    assert changed == [] and dtype == "float32" and enabled is False
    assert inside == "float64"


def test_the_listing_shows_the_public_names() -> None:
    import jaxglmm as jg

    assert {"glmm", "GLMM", "InputError", "datasets", "families", "links"} <= set(dir(jg))
    try:
        jg.no_such_name  # noqa: B018
    except AttributeError as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError("an unknown attribute was found")
