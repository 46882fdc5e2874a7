// Package layout is the format of a heap: the structures that processes share, their sizes, and
// where each table lies. It holds no behaviour beyond that arithmetic. doc/format.md says the same in
// prose, and a test freezes every number; a change edits the three together and raises [Version].
//
// A region is divided into granules of 64 KiB. The tables stand in front, the blocks behind:
//
//	offset 0      superblock            4 KiB   geometry (checksummed) and a few shared words
//	              committed bitmap      1 bit a granule: the file has storage behind it
//	              roots                 128 B each
//	              peers                 128 B each
//	              caches                128 B each
//	              states                one word a granule: what it is, and whose
//	              busy bitmap           1 bit a granule: not free (a hint)
//	              adoption hints        per chunk of 512 granules and size class, 1 bit a granule
//	              slabs                 256 B a granule: bitmaps of slabs with at most 256 blocks
//	              fine bitmaps          1536 B a granule: bitmaps of slabs with more blocks
//	              sites                 2 KiB each: places in programs that allocated sampled blocks
//	first granule data                  up to the end of the region
//
// All-zero bytes are a valid empty heap behind the superblock: state 0 is a free granule, offset 0
// is nil, and every hint is written so that 0 is its safe value. So a table needs no initialisation,
// and no process can meet one that is half initialised.
//
// All integers are little endian and naturally aligned; words that different processes write
// often are 128 bytes apart. Only 64-bit little-endian systems are supported.
package layout
