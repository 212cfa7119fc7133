"""The base of classes of settings, which answers a wrong keyword with the right one."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

from metabench.settings.errors import unknown


class Settings:
    """Base of classes whose fields are settings; a wrong keyword is answered with the right one.

    The answer is that of `--set`. Only the constructor that `dataclass` makes is guarded: a class
    with a constructor of its own takes the keywords that this has.

    >>> import metabench as mb
    >>> try:
    ...     mb.MAML(lr=0.1)
    ... except mb.InvalidInput as error:
    ...     print(str(error).partition(" Known")[0])
    There is no field 'lr' of MAML; did you mean 'inner_optimizer.rate'?
    """

    settings_group: ClassVar[str] = ""  # key before the fields in --set: algo, family, probe

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """Refuse a keyword that is no field.

        Raises:
            InvalidInput: if there is one, with the field that is meant.
        """
        made = cls.__dict__.get("__dataclass_params__")
        if made is not None and made.init:
            known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
            for name in given:
                if name not in known:
                    raise unknown("field", name, known, f" of {cls.__name__}", _meant(cls, name))
        return super().__new__(cls)


def _meant(cls: type[Settings], name: str) -> list[str] | None:
    """Return the fields that a wrong name may mean, without the group that --set needs."""
    from metabench.settings.synonyms import key_of_field

    group, fields = cls.settings_group, [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    found = key_of_field(group, name, fields)
    return [key.removeprefix(f"{group}.") for key in found if key.startswith(f"{group}.")] or None
