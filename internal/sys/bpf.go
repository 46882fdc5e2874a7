package sys

// MapSpec describes a BPF map (man 2 bpf, BPF_MAP_CREATE).
type MapSpec struct {
	Type, KeySize, ValueSize, MaxEntries, Flags uint32
	Extra                                       uint64 // of an arena, where user space maps it
	Name                                        string // at most 15 letters, digits and underscores
}

// ProgramSpec describes a BPF program (man 2 bpf, BPF_PROG_LOAD).
type ProgramSpec struct {
	Type, AttachType, Flags uint32
	AttachBTF               uint32 // the kernel's type of what it is attached to, 0 for none
	Instructions            []byte
	License, Name           string
}
