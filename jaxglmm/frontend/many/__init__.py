"""Many models: of one design, each with a response of its own, or parts of one table."""
