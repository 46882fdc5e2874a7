package sys

// Area is a mapping of this process with what the kernel knows of its memory.
type Area struct {
	Mapping
	Flags []string // two letters each, as VmFlags of /proc/PID/smaps has them; empty where it has none
}
