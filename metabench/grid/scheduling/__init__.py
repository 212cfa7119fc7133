"""The order of cells, retries, failures, and forecasts of time and memory."""
