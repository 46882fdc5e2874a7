//go:build !crashpoint && !shmheap_portable

package proof

import (
	"fmt"
	"unsafe"

	"github.com/shmheap/shmheap/internal/layout"
)

// defines returns the flags that tell testdata/attach.c what it needs to know of the format.
func defines() []string {
	var sb layout.Superblock
	var root layout.Root
	flags := []string{fmt.Sprintf("-DMAGIC=%dULL", uint64(layout.Magic)), fmt.Sprintf("-DREADY=%dULL", uint64(layout.ReadyValue))}
	for _, d := range []struct {
		name  string
		value uintptr
	}{
		{"VERSION", layout.Version},
		{"SB_SIZE", layout.SuperblockSize},
		{"SB_MAGIC", unsafe.Offsetof(sb.Magic)},
		{"SB_VERSION", unsafe.Offsetof(sb.Version)},
		{"SB_READY", unsafe.Offsetof(sb.Ready)},
		{"SB_BASE", unsafe.Offsetof(sb.Base)},
		{"SB_REGION_SIZE", unsafe.Offsetof(sb.Size)},
		{"SB_MAX_ROOTS", unsafe.Offsetof(sb.MaxRoots)},
		{"SB_ROOTS", unsafe.Offsetof(sb.Sections) + unsafe.Offsetof(sb.Sections.Roots)},
		{"ROOT_SIZE", unsafe.Sizeof(root)},
		{"ROOT_STATE", unsafe.Offsetof(root.State)},
		{"ROOT_OFFSET", unsafe.Offsetof(root.Offset)},
		{"ROOT_NAME", unsafe.Offsetof(root.Name)},
	} {
		flags = append(flags, fmt.Sprintf("-D%s=%d", d.name, d.value))
	}
	return flags
}
