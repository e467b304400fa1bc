"""Pruning a trained model without training it."""
