"""What nodes tell each other: bus messages, membership, failure detection. Imports nothing of ours."""
