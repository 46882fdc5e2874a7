//go:build linux || darwin

package sys

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestSocketInDeepDirectory: the length of the directory's path does not matter where a descriptor can
// stand for it, and is an error elsewhere.
func TestSocketInDeepDirectory(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := OpenDir(deep)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	listener, err := ListenAt(dir, "socket")
	if runtime.GOOS != "linux" {
		if err == nil {
			t.Error("a path that is too long was taken")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	info, err := os.Lstat(filepath.Join(deep, "socket"))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("socket %v, %v", info, err)
	}
	conn, err := DialAt(t.Context(), dir, "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if uid, pid, err := PeerOf(conn); err != nil || uid != os.Geteuid() || pid != os.Getpid() {
		t.Errorf("at the other end are uid %d and pid %d, %v", uid, pid, err)
	}
	if _, err := ListenAt(dir, "socket"); err == nil {
		t.Error("a name was taken twice")
	}
	if _, err := ListenAt(dir, strings.Repeat("n", 120)); err == nil {
		t.Error("a name that is too long was taken")
	}
}
