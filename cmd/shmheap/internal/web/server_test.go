package web

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
)

// snapshot has names that hostile peers and programs could make up, some of them twice.
func snapshot(int) (*live.Snapshot, error) {
	return &live.Snapshot{
		Name: "</script><b>x", Size: 1 << 20, Committed: 7 << 10,
		Peers:  []live.Peer{{ID: "0.1", PID: 7, Program: "a\"\n}", Alive: true, Allocs: 5}, {ID: "1.1", Program: "ok"}},
		Queues: []live.Queue{{Root: "twice", Kind: "mpmc", Depth: 3}, {Root: "twice", Kind: "mpmc", Depth: 4}},
	}, nil
}

func get(t *testing.T, s *Server, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	return w
}

// TestPageIsSealed: nothing from elsewhere may be loaded, only scripts of this answer run, and names are no markup.
func TestPageIsSealed(t *testing.T) {
	s, err := New(Config{Look: snapshot, Interval: time.Second, Token: `t"</script>`})
	if err != nil {
		t.Fatal(err)
	}
	w := get(t, s, "/?token=t%22%3C/script%3E")
	policy, page := w.Header().Get("Content-Security-Policy"), w.Body.String()
	if w.Code != 200 || !strings.HasPrefix(policy, "default-src 'none'; script-src 'nonce-") || strings.Contains(policy, "unsafe") {
		t.Errorf("%d, %q", w.Code, policy)
	}
	if strings.Count(page, "</script>") != 1 || strings.Contains(page, "<b>x") {
		t.Error("a name or the token is markup")
	}
	for _, outside := range []string{"http://", "https://", "src=\"", "@import", "url("} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	if again := get(t, s, "/?token=t%22%3C/script%3E"); again.Header().Get("Content-Security-Policy") == policy {
		t.Error("the nonce stays the same")
	}
	if w := get(t, s, "/elsewhere?token=t%22%3C/script%3E"); w.Code != 404 {
		t.Errorf("elsewhere: %d", w.Code)
	}
}

// TestMetricsOfHostileNames: names that collide cost their own lines and no others.
func TestMetricsOfHostileNames(t *testing.T) {
	s, err := New(Config{Look: snapshot, Interval: time.Second, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	w := get(t, s, "/metrics?token=t")
	for _, want := range []string{"shmheap_committed_bytes{heap=\"</script><b>x\"} 7168", `program="a\"\n}"`, `shmheap_peer_up{heap="</script><b>x",peer="1.1",pid="0",program="ok"} 0`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d: no %q in\n%s", w.Code, want, w.Body.String())
		}
	}
}

// TestServeEnds: with the context, and when there is nothing to look at any more.
func TestServeEnds(t *testing.T) {
	gone := errors.New("gone")
	looks := 0
	s, err := New(Config{Interval: time.Millisecond, Look: func(n int) (*live.Snapshot, error) {
		if looks++; looks > 3 {
			return nil, gone
		}
		return snapshot(n)
	}})
	if err != nil || len(s.Token) != 32 {
		t.Fatalf("token %q, %v", s.Token, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); !errors.Is(err, gone) {
		t.Errorf("ends with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	looks = -1 << 30
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(ctx, l); !errors.Is(err, context.Canceled) {
		t.Errorf("ends with %v", err)
	}
}
