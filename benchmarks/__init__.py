"""Benchmarks as data: problems x backends, one row each. README.md has the tables."""
