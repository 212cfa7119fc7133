"""Meta-training: the outer loop, its checkpoints, and what it records for an autopsy."""
