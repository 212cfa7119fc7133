"""`python -m metabench`: the same as the command `metabench`."""

from metabench.cli.main import main

if __name__ == "__main__":
    main(prog_name="metabench")
