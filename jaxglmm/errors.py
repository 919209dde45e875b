"""The one exception of the library.

Bad input is refused before anything compiles; everything that can go wrong inside a fit is a
status of its result (`jaxglmm.status`), never an exception.
"""


class InputError(ValueError):
    """Input that cannot be fitted: names the column or argument, what is wrong and what to do."""
