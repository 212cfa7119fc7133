"""From one task to many: vectorization over tasks, and an estimator with its tasks."""
