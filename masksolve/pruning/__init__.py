"""What scores and repaired weights come from: arrays in, arrays out."""
