"""Meta-training as a command: checkpoints, resuming, findings and the replay of a failed step."""
