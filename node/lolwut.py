"""LOLWUT: computer art in a terminal, drawn with braille dots (two by four to a character).

Version 5 is Georg Nees' "Schotter" (1968): squares that fall out of order row by row. Any other version draws the hash
slots as a ring whose arcs are the shards.
"""

from __future__ import annotations

import math

from gossip.ids import RandomSource

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The braille bit of each dot: by row, by column."""


class Canvas:
    """Dots on a grid; (0, 0) is the upper left one."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._cells = [bytearray((width + 1) // 2) for _ in range((height + 3) // 4)]

    def dot(self, x: int, y: int) -> None:
        """Set a dot; one outside of the grid is nothing."""
        if 0 <= x < self.width and 0 <= y < self.height:
            self._cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    def line(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """A straight line, both ends included."""
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            self.dot(round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps))

    def square(self, x: float, y: float, side: float, angle: float) -> None:
        """A square around (x, y), turned by `angle` radians."""
        reach = side / math.sqrt(2)
        corners = [
            (round(x + reach * math.sin(angle + turn)), round(y + reach * math.cos(angle + turn)))
            for turn in (math.pi / 4 + math.pi / 2 * number for number in range(4))
        ]
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            self.line(x0, y0, x1, y1)

    def text(self) -> str:
        """The picture, one line a row of characters."""
        return "".join("".join(chr(0x2800 + cell) for cell in row) + "\n" for row in self._cells)


def schotter(columns: int, per_row: int, rows: int, random: RandomSource) -> str:
    """`rows` rows of `per_row` squares on `columns` characters; disorder begins below the second row."""
    width = columns * 2
    padding = 2 if width > 4 else 0
    side = (width - padding * 2) / per_row
    canvas = Canvas(width, int(side * rows + padding * 2))
    for row in range(rows):
        for column in range(per_row):
            x, y = column * side + side / 2 + padding, row * side + side / 2 + padding
            angle = 0.0
            if row > 1:
                disorder = (row - 1) / max(1, rows - 1)
                angle = _between(random, -1, 1) * disorder
                x += _between(random, -1, 1) * disorder * side / 3
                y += _between(random, -1, 1) * disorder * side / 3
            canvas.square(x, y, side, angle)
    return canvas.text()


def slot_ring(shards: int, radius: int, random: RandomSource) -> str:
    """The slots as a ring: `shards` arcs with gaps between them, and keys as dots that fall onto their slots."""
    size = 2 * radius + 4
    canvas = Canvas(size, size)
    middle = size / 2
    for degree in range(720):
        place = degree / 720
        if place * shards % 1 < 0.04:
            continue
        angle = place * math.tau
        for depth in (radius, radius * 0.8):
            canvas.dot(round(middle + depth * math.sin(angle)), round(middle - depth * math.cos(angle)))
    for _ in range(shards * 12):
        angle = _between(random, 0, 1) * math.tau
        depth = radius * 0.7 * math.sqrt(_between(random, 0, 1))
        canvas.dot(round(middle + depth * math.sin(angle)), round(middle - depth * math.cos(angle)))
    return canvas.text()


def _between(random: RandomSource, low: float, high: float) -> float:
    return low + (high - low) * random.randrange(1 << 24) / (1 << 24)
