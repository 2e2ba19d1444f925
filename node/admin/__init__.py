"""`hashslot cluster ...`: asks the nodes of a running cluster, ours or real ones, and carries plans out."""
