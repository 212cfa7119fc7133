"""From one task to many: vectorization over tasks, an estimator on its tasks."""
