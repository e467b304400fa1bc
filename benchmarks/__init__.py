"""Benchmarks: the asv suite, and comparisons with other solvers (see docs/benchmarks.md)."""
