"""hashslot: a Redis-compatible cluster that you can pip install. Start it with `hashslot up`.

The server's own packages (gossip, cluster, node) lie in `floors/` beside this file and are put on the path of the
processes that `hashslot` starts, not on yours: nothing but the name `hashslot` is added to your environment.
"""
