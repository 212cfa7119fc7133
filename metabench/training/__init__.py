"""Meta-training from the shell: a command that goes on where it was killed."""
