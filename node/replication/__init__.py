"""Replication: the stream and its backlog, the primary's side, the replica's side."""
