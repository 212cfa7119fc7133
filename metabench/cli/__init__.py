"""The command line: options and printing, one folder for each group of commands."""
