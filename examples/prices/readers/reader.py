"""Reads what examples/prices stored, by offsets: python3 reader.py FILE

The numbers are those of doc/format.md. Only what a root leads to is read, and every offset is checked against the
size of the region, as any process may have written it.
"""

import mmap
import struct
import sys

MAGIC, READY = 0x504145484D48531A, 0x1D5EAD1E4EA90001


def root(heap, name):
    """Returns the offset that a root leads to."""
    roots = struct.unpack_from("<Q", heap, 160 + 8)[0]  # the second of the sections
    count = struct.unpack_from("<I", heap, 40)[0]
    for entry in range(roots, roots + 128 * count, 128):
        state, offset = struct.unpack_from("<QQ", heap, entry)
        if state & 1 and heap[entry + 24 : entry + 88].split(b"\0")[0] == name:
            return offset
    raise SystemExit("no such root")


def main():
    with open(sys.argv[1], "rb") as file:
        heap = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if struct.unpack_from("<Q", heap, 0)[0] != MAGIC or struct.unpack_from("<Q", heap, 512)[0] != READY:
        raise SystemExit("not a heap, or not a complete one")
    count, at = struct.unpack_from("<QQ", heap, root(heap, b"prices"))
    for _ in range(count):
        if at == 0 or at > len(heap) - 32:
            raise SystemExit("damaged")
        at, cents, name = struct.unpack_from("<Qq16s", heap, at)
        print(name.rstrip(b"\0").decode(), cents)


main()
