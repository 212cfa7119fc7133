"""Pages and tables made of measured rows, without torch."""
