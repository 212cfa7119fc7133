"""The command line: options and printing only, a folder a command."""
