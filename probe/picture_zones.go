package probe

import "runtime"

// Zone is one owner's addresses: those that it uses, or may use, in the programs that have it.
type Zone struct {
	Owner  string   // program, language, allocator; unique among the zones of a system
	Kind   ZoneKind // of the owner
	Ranges []Range  // ascending
	Source string   // where that is known from; "measured" is on Linux 6.18, with 28 random bits
}

// ZoneKind tells what sort of owner a zone has.
type ZoneKind string

// The kinds of zones.
const (
	ZoneKernel    ZoneKind = "kernel"     // in every program: images, stacks, what mmap places
	ZoneRuntime   ZoneKind = "runtime"    // programs in one language
	ZoneAllocator ZoneKind = "allocator"  // programs with one allocator
	ZoneSanitizer ZoneKind = "sanitizer"  // programs built with one
	ZoneFixedBase ZoneKind = "fixed base" // what others chose as their shared base
)

// Zones returns the zones that are known for this system, architecture and address width. It is empty
// where none are.
func Zones() []Zone { return zonesFor(runtime.GOOS, runtime.GOARCH, addressBits()) }

func zonesFor(goos, goarch string, bits int) []Zone {
	switch goos + "/" + goarch {
	case "linux/amd64":
		return zonesLinuxAMD64
	case "linux/arm64":
		return zonesLinuxARM64(bits)
	case "linux/riscv64":
		if bits != 0 && bits <= 39 {
			return pieZones(0x2a_aaaa_a000, 38)
		}
		return append(goZone(1<<47), pieZones(0x5555_5555_5000, 47)...)
	case "darwin/amd64":
		return append(goZone(1<<46), zonesDarwinAMD64...)
	case "darwin/arm64":
		return append(goZone(1<<47), zonesDarwinARM64...)
	}
	return nil
}

func zonesLinuxARM64(bits int) []Zone {
	switch {
	case bits == 0 || bits > 47:
		return append(append(goZone(1<<47), zonesLinuxARM64Bits48...), pieZones(0xaaaa_aaaa_a000, 48)...)
	case bits > 42:
		return append(goZone(1<<47), pieZones(0x5555_5555_4000, 47)...)
	case bits > 39:
		return append([]Zone{
			{"TSan", ZoneSanitizer, []Range{{0x2aa_0000_0000, 0x2ab_0000_0000}}, "tsan_platform.h"},
			{"ASan shadow", ZoneSanitizer, []Range{{0x10_0000_0000, 0x90_0000_0000}}, "asan_mapping.h"},
		}, pieZones(0x2aa_aaaa_a000, 42)...)
	}
	return append([]Zone{
		{"ASan shadow", ZoneSanitizer, []Range{{0x10_0000_0000, 0x20_0000_0000}}, "asan_mapping.h"},
		{"TSan shadow", ZoneSanitizer, []Range{{0x20_0000_0000, 0x48_0000_0000}}, "tsan_platform.h"},
	}, pieZones(0x55_5555_5000, 39)...)
}

// goZone returns where Go places its heap.
func goZone(top uint64) []Zone {
	return []Zone{{"Go heap, random", ZoneRuntime, []Range{{0, top}}, "runtime/malloc.go, Go 1.26"}}
}

// pieZones returns what the kernel places: an eighth of the address space is the most that it shifts by.
func pieZones(base uint64, bits int) []Zone {
	top := uint64(1) << bits
	return []Zone{
		{"PIE programs and brk", ZoneKernel, []Range{{base, base + top/8}}, "fs/binfmt_elf.c"},
		{"mmap, libraries, stack", ZoneKernel, []Range{{top - top/8, top}}, "arch/*/mm/mmap.c"},
	}
}

var zonesLinuxAMD64 = []Zone{
	{"program and brk", ZoneKernel, []Range{{0, 0x8200_0000}}, "measured: images at 0x40_0000, brk up to 1 GiB above"},
	{"ulimit -s unlimited", ZoneKernel, []Range{{0x1454_0000_0000, 0x1555_5555_5000}}, "measured: mmap region at 5/6 of the space below 2^45"},
	{"legacy mmap", ZoneKernel, []Range{{0x2aaa_aaaa_a000, 0x2baa_aaaa_a000}}, "measured: setarch -L, older kernels with unlimited stack"},
	{"PIE and brk, 28 bits", ZoneKernel, []Range{{0x5555_5555_4000, 0x5655_5555_4000}}, "ELF_ET_DYN_BASE, vm.mmap_rnd_bits=28; measured"},
	{"PIE and brk, 32 bits", ZoneKernel, []Range{{0x5555_5555_4000, 0x6555_5555_4000}}, "fs/binfmt_elf.c, vm.mmap_rnd_bits=32"},
	{"mmap, stack, 28 bits", ZoneKernel, []Range{{0x7ef9_5000_0000, 0x7fff_ffff_f000}}, "measured: libraries, threads, vdso, stack"},
	{"mmap, stack, 32 bits", ZoneKernel, []Range{{0x6fff_ffff_f000, 0x7fff_ffff_f000}}, "arch/x86/mm/mmap.c, vm.mmap_rnd_bits=32"},
	{"Go heap, random", ZoneRuntime, []Range{{0, 0x4000_0000_0000}}, "runtime/malloc.go, Go 1.26: 64 MiB steps"},
	{"V8, PartitionAlloc", ZoneRuntime, []Range{{0, 0x4000_0000_0000}}, "address_space_randomization.h: 46 bits"},
	{"Java heap, CDS", ZoneRuntime, []Range{{0x6_4740_0000, 0x9_0000_0000}}, "measured: compressed oops, JDK 17"},
	{"Java ZGC", ZoneRuntime, []Range{{0x400_0000_0000, 0x500_0000_0000}, {0x800_0000_0000, 0x900_0000_0000}, {0x1000_0000_0000, 0x1100_0000_0000}}, "measured: JDK 17"},
	{"SBCL", ZoneRuntime, []Range{{0x5000_0000, 0x6000_0000}, {0x10_0000_0000, 0x10_4000_0000}}, "measured: mapped with MAP_FIXED"},
	{"LuaJIT code", ZoneRuntime, []Range{{0x5555_1555_4000, 0x5555_5555_4000}}, "measured: up to 1 GiB below PIE"},
	{"mimalloc", ZoneAllocator, []Range{{0x200_0000_0000, 0x1e00_0000_0000}}, "src/os.c: hints from 2 to 30 TiB"},
	{"TCMalloc", ZoneAllocator, tagged(0, 2, 3, 4, 6), "memory_tag.h: (address >> 42) & 7 is 0, 2, 3, 4 or 6"},
	{"ASan shadow", ZoneSanitizer, []Range{{0x7fff_7000, 0x1000_7fff_8000}}, "asan_mapping.h"},
	{"ASan allocator", ZoneSanitizer, []Range{{0x6000_0000_0000, 0x6400_0000_2000}}, "measured"},
	{"TSan shadow", ZoneSanitizer, []Range{{0x80_0000_0000, 0x5500_0000_0000}}, "tsan_platform.h: shadow, meta, protected gaps"},
	{"TSan gap, heap", ZoneSanitizer, []Range{{0x5680_0000_0000, 0x7e80_0000_0000}}, "tsan_platform.h; newer from 0x5a00_0000_0000"},
	{"MSan shadow", ZoneSanitizer, []Range{{0x100_0000_0000, 0x5100_0000_0000}, {0x6000_0000_0000, 0x7400_0000_0000}}, "msan.h: shadow, origin, invalid, allocator"},
	{"Go -race heap", ZoneSanitizer, []Range{{0xc0_0000_0000, 0xe0_0000_0000}}, "runtime/malloc.go; golang/go#80292"},
	{"Go -race shadow", ZoneSanitizer, []Range{{0x2000_0000_0000, 0x21c0_0000_0000}, {0x3000_0000_0000, 0x4000_0000_0000}}, "race/tsan MappingGo48; measured"},
	{"DPDK", ZoneFixedBase, []Range{{0x1_0000_0000, 0x2_0000_0000}}, "eal_get_baseaddr: default, grows up"},
	{"octeontx", ZoneFixedBase, []Range{{0x1000_0000_0000, 0x1001_0000_0000}}, "DPDK guides: --base-virtaddr"},
	{"SPDK", ZoneFixedBase, []Range{{0x2000_0000_0000, 0x2001_0000_0000}}, "env_dpdk/init.c"},
}

// tagged returns where (address >> 42) & 7 is one of the tags, up to 2^47.
func tagged(tags ...uint64) []Range {
	var set []Range
	for n := range uint64(1 << 5) {
		for _, tag := range tags {
			if n&7 == tag {
				set = append(set, Range{n << 42, (n + 1) << 42})
			}
		}
	}
	return newRangeSet(set)
}

var zonesLinuxARM64Bits48 = []Zone{
	{"TSan shadow, meta", ZoneSanitizer, []Range{{0x1000_0000_0000, 0xa000_0000_0000}}, "tsan_platform.h"},
	{"MSan app", ZoneSanitizer, []Range{{0xaaaa_a000_0000, 0xaaab_0000_0000}}, "msan.h: application memory, not shadow"},
}

var zonesDarwin = []Zone{
	{"page zero, program", ZoneKernel, []Range{{0, 0x1_8000_0000}}, "xnu: __PAGEZERO 4 GiB, image at 4 GiB and a slide"},
	{"Go -race heap", ZoneSanitizer, []Range{{0xc0_0000_0000, 0xe0_0000_0000}}, "runtime/malloc.go; golang/go#80292"},
	{"Chromium, V8", ZoneRuntime, []Range{{0x10_0000_0000, 0x50_0000_0000}}, "address_space_randomization.h: 38 bits"},
	{"PostgreSQL", ZoneFixedBase, []Range{{0x800_0000_0000, 0x801_0000_0000}}, "sysv_shmem.c: EXEC_BACKEND"},
	{"ASan shadow", ZoneSanitizer, []Range{{0x1000_0000_0000, 0x2000_0000_0000}}, "asan_mapping.h"},
	{"TSan shadow, meta", ZoneSanitizer, []Range{{0x1000_0000_0000, 0x3800_0000_0000}}, "tsan_platform.h"},
	{"nano malloc", ZoneAllocator, []Range{{0x6000_0000_0000, 0x7000_0000_0000}}, "libmalloc: signature 6 << 44"},
	{"hardened tasks", ZoneKernel, []Range{{0x6100_0000_0000, 0x6200_0000_0000}, {0x7100_0000_0000, 0x7f00_0000_0000}}, "xnu: CONFIG_MAP_RANGES"},
}

var zonesDarwinAMD64 = append([]Zone{
	{"shared region, stack", ZoneKernel, []Range{{0x7ff7_0000_0000, 0x7fff_ffe0_0000}}, "xnu: shared_region.h"},
	{"threads", ZoneKernel, []Range{{0x7000_0000_0000, 0x7001_0000_0000}}, "libpthread"},
}, zonesDarwin...)

var zonesDarwinARM64 = append([]Zone{
	{"shared region", ZoneKernel, []Range{{0x1_8000_0000, 0x3_0000_0000}}, "xnu: shared_region.h"},
	{"commpage", ZoneKernel, []Range{{0xf_c000_0000, 0x10_0000_0000}}, "xnu: vm_param.h"},
	{"GPU carve-out", ZoneKernel, []Range{{0x10_0000_0000, 0x70_0000_0000}}, "xnu: machine_routines.c"},
}, zonesDarwin...)
