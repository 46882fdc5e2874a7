package lint

import "testing"

func TestUnsafeFiles(t *testing.T) {
	use := imports("unsafe")
	verify(t, unsafeFiles, []example{
		{"internal/mem/memory_unsafe.go", use, nil},
		{"internal/sys/map_unsafe_linux.go", use, nil},
		{"internal/sys/map_unsafe_linux_arm64.go", use, nil},
		{"alloc/typed_unsafe.go", use, nil},
		{"heap/a_unsafe_test.go", use, nil},
		{"internal/layout/a_test.go", use, nil},
		{"alloc/a.go", use, []string{"alloc/a.go:2: unsafe belongs in *_unsafe.go of internal/mem"}},
		{"alloc/notunsafe.go", use, []string{"alloc/notunsafe.go:2: "}},
		{"heap/a_unsafe.go", use, []string{"heap/a_unsafe.go:2: "}},
		{"alloc/a_test.go", use, []string{"alloc/a_test.go:2: "}},
		{"internal/layout/a.go", use, []string{"internal/layout/a.go:2: "}},
	})
}

func TestCgo(t *testing.T) {
	verify(t, cgo, []example{
		{"heap/a.go", "package heap\n// The text //go:linkname inside a comment.\n", nil},
		{"heap/a.go", imports("C"), []string{"heap/a.go:2: no cgo"}},
		{"internal/sys/a.go", "package sys\n\n//go:linkname now runtime.now\nfunc now()\n",
			[]string{"internal/sys/a.go:3: no go:linkname"}},
	})
}
