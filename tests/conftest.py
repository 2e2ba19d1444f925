"""What tests in several rooms share: one cluster of six nodes for a whole session."""

from tests.clients.six_nodes import six_nodes

__all__ = ["six_nodes"]
