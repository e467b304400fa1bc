"""Perplexity of a small pretrained language model, pruned without training."""
