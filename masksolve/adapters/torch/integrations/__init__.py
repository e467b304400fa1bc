"""Sparse training inside of others' training loops: one module for each library, which imports it."""
