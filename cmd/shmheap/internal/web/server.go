package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
)

// Config says what is served.
type Config struct {
	Look     func(cells int) (*live.Snapshot, error)
	Interval time.Duration // between two looks
	Token    string        // that every request must have; "" makes one
}

// Server serves one heap. Make it with New.
type Server struct {
	Config
	mu      sync.Mutex
	latest  *live.Snapshot
	history []Point
	looks   int
}

// Point is one moment of the page's curves.
type Point struct {
	Time      time.Time `json:"time"`
	Committed uint64    `json:"committed"`
	LiveBytes uint64    `json:"live_bytes"`
	Allocs    float64   `json:"alloc_rate"`
}

// state is what the page asks for.
type state struct {
	Looks    int            `json:"looks"`    // so far
	Interval float64        `json:"interval"` // seconds
	Words    []string       `json:"words"`
	Heap     *live.Snapshot `json:"heap"`
	History  []Point        `json:"history"`
}

// Bounds of what the page shows.
const (
	cells   = 4096
	history = 600
)

// New returns a server that has looked once.
func New(c Config) (*Server, error) {
	if c.Token == "" {
		var b [16]byte
		rand.Read(b[:]) // never fails
		c.Token = hex.EncodeToString(b[:])
	}
	s := &Server{Config: c}
	return s, s.look()
}

func (s *Server) look() error {
	shot, err := s.Look(cells)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = shot
	s.looks++
	s.history = append(s.history, Point{shot.Time, shot.Committed, shot.LiveBytes, shot.Allocs})
	if n := len(s.history); n > history {
		s.history = append(s.history[:0], s.history[n-history:]...)
	}
	return nil
}

// Serve answers requests on l until ctx is done, whose error it returns then, or there is nothing to look at any
// more. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	err := s.watch(ctx, ended)
	quick, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if server.Shutdown(quick) != nil {
		server.Close()
	}
	return err
}

func (s *Server) watch(ctx context.Context, ended <-chan error) error {
	t := time.NewTicker(s.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case <-t.C:
			if err := s.look(); err != nil {
				return err
			}
		}
	}
}

// Handler answers requests that have the token, as parameter or as a bearer's.
func (s *Server) Handler() http.Handler {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&collector{s})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /api", s.api)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return s.guard(mux)
}

func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // the address has the token
		h.Set("Cache-Control", "no-store")
		given := r.URL.Query().Get("token")
		if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			given = bearer
		}
		if subtle.ConstantTimeCompare([]byte(given), []byte(s.Token)) != 1 {
			http.Error(w, "the token is missing or wrong: use the address that shmheap serve printed", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	var b [16]byte
	rand.Read(b[:])
	nonce := hex.EncodeToString(b[:])
	w.Header().Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; script-src 'nonce-%[1]s'; style-src 'nonce-%[1]s'; "+
		"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.mu.Lock()
	name := s.latest.Name
	s.mu.Unlock()
	_ = pageTemplate.Execute(w, map[string]string{"Nonce": nonce, "Token": s.Token, "Name": name}) // the reader may be gone
}

func (s *Server) api(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	b, err := json.Marshal(state{s.looks, s.Interval.Seconds(), s.latest.Spaces.Words(), s.latest, s.history})
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // the reader may be gone
}

func (s *Server) shot() *live.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}
