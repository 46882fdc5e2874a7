package heap

import (
	"context"
	"path/filepath"
	"testing"
)

// TestNoDirectory: who opens a heap where it is missing and then creates it is not told again that it is missing.
func TestNoDirectory(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, o := range []*Options{{Path: filepath.Join(missing, "a.heap")}, {Dir: filepath.Join(missing, "heaps")}} {
		_, err := Create("a", o)
		wantError(t, "create", err, ErrNoDirectory)
		if classify(err) != "other: "+err.Error() {
			t.Errorf("create: %v is %s, too", err, classify(err))
		}
	}
	_, err := Join(context.Background(), "a", &JoinOptions{Dir: filepath.Join(missing, "heaps")})
	wantError(t, "join", err, ErrNoDirectory)
	_, err = Open("a", &Options{Dir: filepath.Join(missing, "heaps")})
	wantError(t, "open", err, ErrNotExist)
	_, err = Create("a", &Options{Dir: filepath.Join(t.TempDir(), "heaps"), GroupReads: true})
	wantError(t, "create for the members of no group", err, ErrGroup)
}
