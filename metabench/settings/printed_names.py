"""Names of members as people write them; records hold the digest of a file's code, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def printed_name(name: str) -> str:
    """Return a name without the digest of the code, as it is written on a command line.

    >>> printed_name("my@0123456789ab:Damped"), printed_name("my.py@0123456789ab:problem")
    ('my.py:Damped', 'my.py:problem')
    >>> printed_name("maml"), printed_name("my_pkg.algorithms:Damped")
    ('maml', 'my_pkg.algorithms:Damped')
    """
    return re.sub(r"(\.py)?@[0-9a-f]{12}(?=:)", ".py", name)


def algorithm_on_family(spec: Mapping[str, Any]) -> str:
    """Write the algorithm and the family of a measurement's settings.

    >>> spec = {"algo": {"name": "my@0123456789ab:Damped"}, "family": {"name": "sinusoid"}}
    >>> algorithm_on_family(spec)
    'my.py:Damped on sinusoid'
    """
    return " on ".join(printed_name(spec[part]["name"]) for part in ("algo", "family"))
