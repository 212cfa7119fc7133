"""Meta-training: the outer loop, its checkpoints, and the step records that a replay needs."""
