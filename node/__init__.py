"""One server: sockets, commands, data, persistence, replication, and the program's entry points."""
