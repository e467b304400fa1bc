"""Blocks of equal tiles as views of the caller's arrays."""
