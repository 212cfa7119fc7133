"""The outer loop of meta-training, and the recordings from which a failed step is replayed."""
