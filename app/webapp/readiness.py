"""Readiness: the named checks behind `/health`, and what each looks at.

A check is a function without arguments that returns None when all is well,
else a short reason for people. The answer is public, so a reason names
settings and paths but never the value of a setting.
"""

import os
import tempfile
from collections.abc import Callable, Mapping

Check = Callable[[], str | None]


class Readiness:
    """The checks of one application, run anew for every report."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Make readiness depend on `check` too."""
        self._checks[name] = check

    def report(self) -> tuple[bool, dict[str, str]]:
        """Whether every check passes, and each one's "ok" or reason."""
        reasons = {name: check() for name, check in self._checks.items()}
        ready = all(reason is None for reason in reasons.values())
        return ready, {name: reason or "ok" for name, reason in reasons.items()}


def required_settings_check(environ: Mapping[str, str]) -> Check:
    """Every variable named in APP_REQUIRED_SETTINGS is set and not empty."""
    names = environ.get("APP_REQUIRED_SETTINGS", "").replace(",", " ").split()

    def check() -> str | None:
        missing = [name for name in names if not environ.get(name)]
        return f"missing: {', '.join(missing)}" if missing else None

    return check


def data_dir_check(path: str) -> Check:
    """A file can be written in `path`.

    It writes for real: permission bits say nothing of a full disk or of a
    file system mounted read-only.
    """

    def check() -> str | None:
        try:
            with tempfile.TemporaryFile(dir=path) as probe:
                probe.write(b"ready?")
                probe.flush()
        except OSError as error:
            return f"cannot write to {path}: {os.strerror(error.errno)}"
        return None

    return check
