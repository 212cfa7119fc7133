"""`metabench plan, grid, worker, status, show, compare, compact, slurm`."""
