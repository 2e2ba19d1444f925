"""What a with-statement ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Something that runs until the block that it is used in ends, however that ends."""

    @abstractmethod
    def close(self) -> None:
        """End it, whatever state it is in."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
