"""Files of weights: read, pruned, written and verified tensor by tensor."""
