package probe

import (
	"errors"
	"slices"
	"testing"

	"github.com/shmheap/shmheap/internal/handshake"
)

// TestAnnounced: what the environment says is told as it stands there, and nothing else is.
func TestAnnounced(t *testing.T) {
	t.Setenv(handshake.Variable, "")
	if got, err := Announced(0); len(got) != 0 || err != nil {
		t.Errorf("without a word: %v, %v", got, err)
	}
	entries := []handshake.Entry{{Base: 1 << 44, Size: 1 << 20, Nonce: handshake.NewNonce()}, {Base: 1 << 45, Size: 1 << 30, Nonce: handshake.NewNonce()}}
	t.Setenv(handshake.Variable, handshake.Format(entries)+":0x10,nonsense")
	want := []Range{{1 << 44, 1<<44 + 1<<20}, {1 << 45, 1<<45 + 1<<30}}
	if got, err := Announced(0); !slices.Equal(got, want) || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := Announced(1<<31 - 1); len(got) != 0 || !errors.Is(err, ErrUnproved) {
		t.Errorf("of nobody: %v, %v", got, err)
	}
}
