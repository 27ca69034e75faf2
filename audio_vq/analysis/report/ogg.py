"""Ogg files that are the same bytes whenever they are written."""


def without_serial(ogg: bytes) -> bytes:
    """An Ogg file with stream number 0 in place of a random one: the same sound is then the same bytes."""
    pages, place = bytearray(ogg), 0
    while place < len(pages):
        segments = pages[place + 26]
        end = place + 27 + segments + sum(pages[place + 27 : place + 27 + segments])
        pages[place + 14 : place + 18] = bytes(4)  # the number
        pages[place + 22 : place + 26] = bytes(4)  # the checksum is taken with itself as 0
        pages[place + 22 : place + 26] = _checksum(bytes(pages[place:end])).to_bytes(4, "little")
        place = end
    return bytes(pages)


def _checksum(page: bytes) -> int:
    """CRC-32 as RFC 3533 has it: neither reflected nor inverted, unlike zlib's."""
    checksum = 0
    for byte in page:
        checksum = (checksum << 8) & 0xFFFFFFFF ^ _TABLE[checksum >> 24 ^ byte]
    return checksum


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        entry = byte << 24
        for _ in range(8):
            entry = (entry << 1) & 0xFFFFFFFF ^ (0x04C11DB7 if entry >> 31 else 0)
        entries.append(entry)
    return tuple(entries)


_TABLE = _table()
