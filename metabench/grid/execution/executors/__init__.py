"""The executors: what starts the processes that cells are measured in; the store does the rest."""
