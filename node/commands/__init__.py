"""All commands, by group. A new file of commands is one line here."""

from node.commands import (
    client,
    cluster,
    config,
    connection,
    debug,
    generic,
    hashes,
    introspection,
    replication,
    server,
    strings,
    strings_numbers,
    strings_parts,
)

GROUPS = [
    strings.group,
    strings_parts.group,
    strings_numbers.group,
    hashes.group,
    generic.group,
    connection.group,
    client.group,
    server.group,
    config.group,
    introspection.group,
    debug.group,
    replication.group,
    replication.wait_group,
    cluster.group,
]
