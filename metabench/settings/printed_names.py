"""Names of members as people write them; records hold the digest of a file's code, too."""

from __future__ import annotations

import re


def printed_name(name: str) -> str:
    """Return a name without the digest of the code, as it is written on a command line.

    >>> printed_name("my@0123456789ab:Damped"), printed_name("my.py@0123456789ab:problem")
    ('my.py:Damped', 'my.py:problem')
    >>> printed_name("maml"), printed_name("my_pkg.algorithms:Damped")
    ('maml', 'my_pkg.algorithms:Damped')
    """
    return re.sub(r"(\.py)?@[0-9a-f]{12}(?=:)", ".py", name)
