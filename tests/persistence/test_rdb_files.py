"""When a node saves and what it says of it: save points, failures, LASTSAVE. In process, on a clock that the test turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import CommandError
from node.persistence.rdb import RdbReader
from node.persistence.records import Aux, Key
from node.resp import Verbatim
from tests.replication.world import Member, World, follow


def saving_node(world: World, folder: Path, *points: str, port: int = 7000) -> Member:
    member = world.node(port)
    member.node.config.load("dir", [str(folder)])
    member.node.config.load("save", list(points) or [""])
    return member


def records(path: Path) -> tuple[dict[bytes, bytes], dict[bytes, object]]:
    """Facts and keys of a file."""
    reader = RdbReader()
    found = reader.feed(path.read_bytes())
    reader.close()
    facts = {one.name: one.value for one in found if isinstance(one, Aux)}
    return facts, {one.key: one.value for one in found if isinstance(one, Key)}


def let_it_save(world: World, member: Member) -> None:
    """The disk is real: wait for its thread as well as for the world's clock."""
    for _ in range(20_000):
        if not member.node.saving.in_progress:
            return
        thread = getattr(getattr(member.node.saving._save, "file", None), "_thread", None)
        if thread is not None:
            thread.join()
        world.step()
    raise AssertionError("the save does not end")


def info(member: Member) -> dict[str, str]:
    told = member.run("INFO", "persistence")
    assert isinstance(told, Verbatim)
    text = told.text.decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def test_a_background_save_is_of_the_moment_it_began(tmp_path: Path) -> None:
    world = World()
    member = saving_node(world, tmp_path)
    for number in range(3000):
        member.run("SET", f"k{number}", number)
    assert member.run("BGSAVE") == "Background saving started"
    assert member.error("BGSAVE") == member.error("SAVE") == "ERR Background save already in progress"
    world.step()
    assert info(member)["rdb_bgsave_in_progress"] == "1"
    for number in range(3000):
        member.run("SET", f"k{number}", "later")
    member.run("SET", "new", 1)
    let_it_save(world, member)
    facts, keys = records(tmp_path / "dump.rdb")
    assert keys == {b"k%d" % number: number for number in range(3000)}
    assert b"repl-id" not in facts, "no replica has ever followed: there is no history to speak of"
    told = info(member)
    assert told["rdb_bgsave_in_progress"] == "0" and told["rdb_last_bgsave_status"] == "ok"
    assert told["rdb_changes_since_last_save"] == "3001" and told["rdb_saves"] == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["dump.rdb"]


def test_save_points(tmp_path: Path) -> None:
    world = World()
    member = saving_node(world, tmp_path, "10", "5")
    saving = member.node.saving
    for number in range(4):
        member.run("SET", "k", number)
    world.advance(60_000)
    saving.tick(world.now_ms)
    assert not saving.in_progress, "four changes are not five"
    member.run("SET", "k", 4)
    saving.tick(world.now_ms)
    assert saving.in_progress
    began_s = world.now_ms // 1000
    let_it_save(world, member)
    assert member.run("LASTSAVE") >= began_s
    assert info(member)["rdb_changes_since_last_save"] == "0"
    for number in range(9):
        member.run("SET", "k", number)
    world.advance(10_000)
    saving.tick(world.now_ms)
    assert not saving.in_progress, "ten seconds are not over ten"
    world.advance(1)
    saving.tick(world.now_ms)
    assert saving.in_progress
    saving.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["dump.rdb"]


def test_writes_stop_when_a_save_fails_and_go_on_when_one_succeeds(tmp_path: Path) -> None:
    world = World()
    member = saving_node(world, tmp_path, "10", "1")
    (tmp_path / "dump.rdb").mkdir()
    member.run("SET", "k", 1)
    member.run("BGSAVE")
    let_it_save(world, member)
    assert info(member)["rdb_last_bgsave_status"] == "err"
    assert member.error("SET", "k", 2).startswith("MISCONF Redis is configured to save RDB snapshots, but")
    assert member.error("PING").startswith("MISCONF")
    assert member.run("GET", "k") == b"1"
    world.advance(20_000)
    member.node.saving.tick(world.now_ms)
    assert member.node.saving.in_progress, "the save points try again"
    let_it_save(world, member)
    world.advance(4000)
    member.node.saving.tick(world.now_ms)
    assert not member.node.saving.in_progress, "but not more often than every five seconds"
    member.run("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
    assert member.run("SET", "k", 3) == "OK"
    member.run("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
    assert member.error("SAVE") == "ERR"
    (tmp_path / "dump.rdb").rmdir()
    assert member.run("SAVE") == "OK"
    assert member.run("SET", "k", 4) == "OK"
    assert [path.name for path in tmp_path.iterdir()] == ["dump.rdb"]


def test_flushall_does_not_leave_the_old_data_in_the_file(tmp_path: Path) -> None:
    world = World()
    member = saving_node(world, tmp_path, "3600", "1")
    member.run("SET", "k", 1)
    assert member.run("SAVE") == "OK"
    member.run("FLUSHALL")
    let_it_save(world, member)
    assert records(tmp_path / "dump.rdb")[1] == {}


@pytest.mark.parametrize("who", ["primary", "replica"])
def test_the_file_says_which_point_of_which_history_it_is(who: str, tmp_path: Path) -> None:
    """In the middle of writes and of a transaction that the replica has half of."""
    world = World(chunk=40)
    primary, replica = saving_node(world, tmp_path / "."), saving_node(world, tmp_path, port=7001)
    follow(replica, 7000)
    world.settle()
    chosen = primary if who == "primary" else replica
    for number in range(40):
        primary.run("SELECT", number % 3)
        primary.run("MULTI")
        primary.run("RPUSH", "list", number)
        primary.run("RPUSH", "list", number)
        primary.run("EXEC")
        world.advance(4)
        chosen.node.config.load("dbfilename", [f"{number}.rdb"])
        assert chosen.run("SAVE") == "OK"
        facts, _ = records(tmp_path / f"{number}.rdb")
        replication = chosen.node.replication
        assert facts[b"repl-id"].decode() == replication.id
        assert int(facts[b"repl-offset"]) == replication.offset
        lengths = [len(value) for value in _lists(tmp_path / f"{number}.rdb")]
        assert all(length % 2 == 0 for length in lengths), "half a transaction"
    assert int(facts[b"repl-offset"]) > 500


def _lists(path: Path) -> list[list[bytes]]:
    reader = RdbReader()
    return [list(one.value) for one in reader.feed(path.read_bytes()) if isinstance(one, Key)]  # type: ignore[call-overload]


def test_shutdown_refuses_while_the_file_can_not_be_written(tmp_path: Path) -> None:
    world = World()
    member = saving_node(world, tmp_path)
    (tmp_path / "dump.rdb").mkdir()
    with pytest.raises(CommandError, match="Errors trying to SHUTDOWN"):
        member.run("SHUTDOWN", "SAVE")
    assert not member.node.closing.ended and member.run("SET", "k", 1) == "OK"
