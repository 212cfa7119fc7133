"""Print the oldest version of everything that pyproject.toml claims to run with, one a line."""

import tomllib
from pathlib import Path

EXTRAS = ("data", "parquet", "tensorboard", "test")  # what tests ask for

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
groups = [project["dependencies"], *(project["optional-dependencies"][name] for name in EXTRAS)]
for claim in (claim for group in groups for claim in group):
    if ">=" in claim:
        print(claim.replace(">=", "=="))
