package probe

// The windows as data. TestWindowsAvoid holds the claims below against a table of who uses which
// addresses. "PIE" is where the kernel loads position-independent programs: at two thirds of the
// address space and, randomly, above.

var linuxAMD64 = []Window{
	{
		Range{0x5500_0000_0000, 0x5550_0000_0000}, "below-pie",
		"above the random heaps of Go and V8 (2^46), 21 GiB below PIE, which LuaJIT comes within 1 GiB of; " +
			"application memory of TSan, MSan and ASan; not in the random range of TCMalloc",
	},
	{
		Range{0x5100_0000_0000, 0x5500_0000_0000}, "msan-app",
		"as below-pie, but shadow of TSan and in the random range of TCMalloc",
	},
	{
		Range{0x4200_0000_0000, 0x5100_0000_0000}, "above-go-heap",
		"2 TiB above the random heaps of Go and V8; shadow of TSan and of MSan",
	},
	{
		Range{0x20_0000_0000, 0x80_0000_0000}, "low",
		"application memory of TSan and MSan, below the heap of Go programs built with -race; shadow of ASan, " +
			"and inside the random heaps of Go and V8",
	},
	{
		Range{0x100_0000_0000, 0x3f00_0000_0000}, "random-zone",
		"large, but inside the random heaps of Go and V8 and the shadow of every sanitizer",
	},
}

var linuxARM64Bits48 = []Window{
	{
		Range{0xa000_0000_0000, 0xaaa0_0000_0000}, "below-pie",
		"above the random heap of Go (2^47) and above the shadow of TSan, 42 GiB below PIE",
	},
	{
		Range{0xaaaa_0000_0000 - Guard, 0xaaaa_8000_0000 + Guard}, "tsan-app",
		"application memory of TSan; a heap of up to 2 GiB fits between its start and PIE",
	},
	{
		Range{0x8000_0000_0000, 0xa000_0000_0000}, "above-go-heap",
		"above the random heap of Go; shadow of TSan",
	},
}

var linuxARM64Bits47 = []Window{
	{
		Range{0x5500_0000_0000, 0x5550_0000_0000}, "below-pie",
		"21 GiB below PIE; the random heap of Go covers the whole address space",
	},
	{
		Range{0x4000_0000_0000, 0x5500_0000_0000}, "far-below-pie",
		"large; the random heap of Go covers the whole address space",
	},
}

var linuxARM64Bits42 = []Window{
	{
		Range{0x2a0_0000_0000, 0x2aa_0000_0000}, "below-pie",
		"ends where the application memory of TSan begins, 2.67 GiB below PIE",
	},
	{
		Range{0x200_0000_0000, 0x2a0_0000_0000}, "far-below-pie",
		"large; between PIE and the shadow of ASan",
	},
}

var linuxARM64Bits39 = []Window{
	{
		Range{0x50_0000_0000, 0x55_0000_0000}, "below-pie",
		"above the shadow of ASan and of TSan, 1.33 GiB below PIE",
	},
	{
		Range{0x48_0000_0000, 0x50_0000_0000}, "far-below-pie",
		"above the shadow of ASan and of TSan",
	},
}

var linuxRISCV64SV48 = []Window{
	{
		Range{0x5500_0000_0000, 0x5550_0000_0000}, "below-pie",
		"21 GiB below PIE; the random heap of Go covers the whole address space",
	},
	{
		Range{0x4000_0000_0000, 0x5500_0000_0000}, "far-below-pie",
		"large; the random heap of Go covers the whole address space",
	},
}

var linuxRISCV64SV39 = []Window{
	{
		Range{0x28_0000_0000, 0x2a_0000_0000}, "below-pie",
		"2.67 GiB below PIE",
	},
	{
		Range{0x20_0000_0000, 0x28_0000_0000}, "far-below-pie",
		"between the middle of the address space and PIE",
	},
}

// On arm64 the random heap of Go covers all of it; on amd64 it ends at 2^46.
var darwin = []Window{
	{
		Range{0x5500_0000_0000, 0x5550_0000_0000}, "mid-app",
		"application memory of TSan; far above what the kernel gives away from below, below the nano malloc zone",
	},
	{
		Range{0x800_0000_0000, 0x1000_0000_0000}, "postgresql",
		"where PostgreSQL puts its shared memory; below the shadow of ASan and of TSan",
	},
}
