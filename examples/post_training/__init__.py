"""Accuracy of real models that were pruned without training (see docs/post_training.md)."""
