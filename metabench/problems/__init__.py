"""Problems, tasks, samplers, parameter layouts and addressed random numbers."""
