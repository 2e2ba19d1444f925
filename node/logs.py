"""Log lines in Redis's shape, so that what reads redis-server's log reads ours: `pid:role date time level text`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from datetime import datetime

_LEVELS = {logging.DEBUG: ".", logging.INFO: "-", 25: "*", logging.WARNING: "#", logging.ERROR: "#"}

NOTICE = 25
"""Between INFO ("verbose" in redis.conf) and WARNING: what Redis calls notice."""

VERBOSITY = {
    "debug": logging.DEBUG,
    "verbose": logging.INFO,
    "notice": NOTICE,
    "warning": logging.WARNING,
    "nothing": logging.CRITICAL + 1,
}


class _RedisFormatter(logging.Formatter):
    def __init__(self, role: Callable[[], str]) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        now = datetime.fromtimestamp(record.created)
        stamp = f"{now:%d %b %Y %H:%M:%S}.{now.microsecond // 1000:03d}"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{os.getpid()}:{self._role()} {stamp} {_LEVELS.get(record.levelno, '#')} {text}"


def set_up(logfile: str, level: str, role: Callable[[], str]) -> None:
    """Log to `logfile`, or to standard output when that is "". `role` gives M for a primary, S for a replica.

    OSError when the file can not be opened.
    """
    logging.addLevelName(NOTICE, "NOTICE")
    handler: logging.Handler = (
        logging.FileHandler(logfile, encoding="utf-8") if logfile else logging.StreamHandler(sys.stdout)
    )
    handler.setFormatter(_RedisFormatter(role))
    log = logging.getLogger("hashslot")
    for old in list(log.handlers):
        log.removeHandler(old)
    log.addHandler(handler)
    log.propagate = False
    set_level(level)


def set_level(level: str) -> None:
    """Log from this level on: debug, verbose, notice, warning, nothing."""
    logging.getLogger("hashslot").setLevel(VERBOSITY[level])
