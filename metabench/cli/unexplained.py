"""Errors that nothing has explained, in a command that names a member of the user's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from metabench.settings.trust import members_of_study
from metabench.settings.user_errors import in_one_line

MEMBER = re.compile(r"(?:^|=|,)([\w./ -]*\w(?:\.py)?:[A-Za-z_]\w*)$")  # my.py:it, my_pkg:It


def sentence(error: Exception, arguments: Sequence[str]) -> str | None:
    """Return the sentence for an error in metabench that a user's member may have caused.

    Args:
        error: that nothing has explained.
        arguments: of the command.

    Returns:
        None if the command names no member but listed ones: then it is an error of metabench.
    """
    named = _named(arguments)
    if not named:
        return None
    return (
        f"{', '.join(named)} can't be used here: {in_one_line(error)}. What it returns may have a "
        "wrong type or shape; metabench contract and metabench verify check it, and --debug shows "
        "where."
    )


def _named(arguments: Sequence[str]) -> list[str]:
    """Return the unlisted members that a command line names, itself or by its study."""
    found = [match[1] for each in arguments if (match := MEMBER.search(each))]
    for each in arguments:
        if each.endswith(".toml"):
            found += members_of_study(Path(each))
    return list(dict.fromkeys(found))
