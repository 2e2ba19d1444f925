"""Who owns which slot, and what follows: routing, elections, migration. Imports only `gossip`."""
