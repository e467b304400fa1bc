"""Sparse training: masks on the weights of a model that learns."""
