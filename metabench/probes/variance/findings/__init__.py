"""What the variance table says, a subject a file; nothing here needs torch."""
