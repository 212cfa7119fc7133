"""What is learned: problems, tasks, samplers, random numbers."""
