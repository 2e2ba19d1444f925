"""The configuration's own promises: all or nothing, listeners and their veto, typed access, the page that tells it."""

from __future__ import annotations

import re

import pytest

from node.config import BY_NAME, SETTINGS, Config, ConfigError, ineffective_settings
from node.settings.document import PAGE, help_text, page
from node.settings.special import BufferLimit


def test_attributes_are_typed_plain_values() -> None:
    config = Config("/data")
    assert (config.maxclients, config.bind, config.appendonly) == (10000, ("127.0.0.1", "-::1"), False)
    assert config.client_output_buffer_limit.replica == BufferLimit(256 << 20, 64 << 20, 60)
    assert config.get("SLAVE-PRIORITY") == config.replica_priority == 100
    assert config.dir == "/data"
    assert "maxclients" in config.__dict__
    with pytest.raises(KeyError):
        config.get("nothing")


def test_all_or_nothing() -> None:
    config = Config()
    with pytest.raises(ConfigError, match=r"related to argument 'hz'\) - argument couldn't"):
        config.set_many({"timeout": "5", "maxmemory": "1gb", "hz": "x"})
    assert (config.timeout, config.maxmemory, config.hz) == (0, 0, 10)


def test_listeners_hear_changes_only() -> None:
    config = Config()
    heard: list[object] = []
    config.on_change("slave-priority", heard.append)
    config.on_change(Config.timeout, heard.append)
    config.set_many({"replica-priority": "100", "timeout": "7"})
    config.set_many([("slave-priority", "5"), ("replica-priority", "6")])
    assert heard == [7, 6]


def test_a_veto_puts_everything_back_and_says_so() -> None:
    config = Config()
    heard: list[tuple[str, int]] = []

    def timeout(value: int) -> None:
        heard.append(("timeout", value))

    def clients(value: int) -> str | None:
        heard.append(("maxclients", value))
        return "Unable to set" if value > 20000 else None

    config.on_change(Config.timeout, timeout)
    config.on_change(Config.maxclients, clients)
    with pytest.raises(ConfigError) as raised:
        config.set_many({"timeout": "9", "maxclients": "30000", "hz": "50"})
    assert str(raised.value) == "ERR CONFIG SET failed (possibly related to argument 'maxclients') - Unable to set"
    assert (config.timeout, config.maxclients, config.hz) == (0, 10000, 10)
    assert heard == [("timeout", 9), ("maxclients", 30000), ("timeout", 0), ("maxclients", 10000)]


@pytest.mark.parametrize(
    ("allowed", "local", "passes"), [("no", True, 0), ("local", False, 0), ("local", True, 1), ("yes", False, 1)]
)
def test_protected_settings(allowed: str, local: bool, passes: int) -> None:
    config = Config()
    config.load("enable-protected-configs", [allowed])
    if passes:
        config.set_many({"dbfilename": "x"}, local=local)
        assert config.dbfilename == "x"
    else:
        with pytest.raises(ConfigError, match="can't set protected config"):
            config.set_many({"dbfilename": "x"}, local=local)


def test_two_configurations_share_nothing() -> None:
    one, other = Config(), Config()
    one.set_many({"hz": "99"})
    one.user_lines.append(("a",))
    assert (other.hz, other.user_lines) == (10, [])


def test_hidden_settings_need_their_exact_name() -> None:
    config = Config()
    assert b"key-load-delay" not in config.get_matching([b"*"])
    assert config.get_matching([b"key-load-delay"]) == {b"key-load-delay": b"0"}


def test_newer_words_are_taken_but_not_listed() -> None:
    config = Config()
    config.set_many(
        {"repl-diskless-load": "flush-before-load", "loglevel": "nothing", "shutdown-on-sigterm": "failover safe"}
    )
    assert config.shutdown_on_sigterm == "safe failover"
    with pytest.raises(ConfigError, match=r"one of the following: disabled, on-empty-db, swapdb$"):
        config.set_many({"repl-diskless-load": "x"})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("cluster-announce-client-ipv4", "x", "Invalid IPv4 address"),
        ("cluster-announce-client-ipv6", "1.2.3.4", "Invalid IPv6"),
        ("rdma-bind", "x", "No RDMA building support."), ("locale-collate", "xx", "Invalid locale name"),
        ("slot-migration-max-failover-repl-bytes", "-2",
        "argument must be between -1 and 9223372036854775807 inclusive"),
        ("cluster-announce-human-nodename", "a b", "invalid character"),
        ("maxmemory", "18446744073709551616", "memory value"),
        ("unixsocketgroup", "x", "can't set immutable config"),
        ("maxmemory-samples", "65", "between 1 and 64 inclusive"),
    ],
)  # fmt: skip
def test_settings_of_newer_servers_are_checked(name: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Config().set_many({name: value})


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m node.settings.document"


def test_the_page_and_the_help_name_everything() -> None:
    text, told = page(), help_text()
    assert all(f"`{name}`" in text for name in BY_NAME)
    assert all(setting.name in told for setting in SETTINGS)
    kept = ineffective_settings()
    assert "io-threads" in kept and "maxclients" not in kept and kept == sorted(kept)


def test_a_setting_says_whether_it_has_an_effect() -> None:
    """One that has is looked at by some code besides its declaration."""
    root = PAGE.parent.parent
    files = [path for floor in ("node", "cluster") for path in (root / floor).rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files if path.parent.name != "settings")
    words = set(re.findall(r"[\w-]+", code)) | {"shutdown-on-sigint"}  # made of the signal's name
    idle = {setting.name for setting in SETTINGS if not words & {setting.name, setting.attribute}}
    assert idle <= set(ineffective_settings()), idle - set(ineffective_settings())
