"""Item images: tiny valid PNG files, each of its own colour, made by code."""

from __future__ import annotations

import struct
import zlib

SIDE = 16


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def picture(colour: int) -> bytes:
    """A 16 x 16 PNG of one colour (24 bits, red first)."""
    pixel = bytes((colour >> 16 & 255, colour >> 8 & 255, colour & 255))
    rows = (b"\x00" + pixel * SIDE) * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
