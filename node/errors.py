"""The errors a client can see, each text in one place, in Redis's words (`server.c` shared objects, command pages)."""

from __future__ import annotations

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
SYNTAX = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"
NO_SUCH_KEY = "ERR no such key"
OUT_OF_RANGE = "ERR index out of range"
OVERFLOW = "ERR increment or decrement would overflow"
STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
BUSY_KEY = "BUSYKEY Target key name already exists."
NO_AUTH = "NOAUTH Authentication required."
WRONG_PASS = "WRONGPASS invalid username-password pair or user is disabled."
READ_ONLY = "READONLY You can't write against a read only replica."
LOADING = "LOADING Redis is loading the dataset in memory"
MASTER_DOWN = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
NO_REPLICAS = "NOREPLICAS Not enough good replicas to write."
SAVE_FAILED = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may "
    "modify the data set are disabled, because this instance is configured to report errors during writes if RDB "
    "snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error."
)
CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot"
NOT_CLUSTERED = "ERR This instance has cluster support disabled"
INVALID_DB = "ERR DB index is out of range"
ONLY_SUBSCRIBING = (
    "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
)
CLIENT_GONE = "ERR No such client"


class CommandError(Exception):
    """What a handler raises to answer with an error.

    The text is the reply without the leading "-": an upper-case code, a space, a sentence. Line breaks are turned into
    spaces when it is encoded, since an error reply is one line.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    @property
    def code(self) -> str:
        """The first word, which INFO errorstats counts by."""
        return self.text.partition(" ")[0]


class ProtocolError(Exception):
    """Bytes that are no request. The text is Redis's ("Protocol error: ..."); the connection is closed after it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = "ERR Protocol error: " + text


def wrong_arity(name: str) -> CommandError:
    """`name` is the full name in lower case, subcommands with a bar: "client|kill"."""
    return CommandError(f"ERR wrong number of arguments for '{name}' command")
