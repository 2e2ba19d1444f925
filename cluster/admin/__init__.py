"""What administrators' tools decide about a running cluster, given a picture of it: problems, layouts, moves, repairs."""
