"""How fast, and how big: our node next to redis-server and valkey-server on the machine at hand."""
