//go:build !crashpoint && !shmheap_portable

package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// benchReport is the part of the report that the test looks at.
type benchReport struct {
	Peers []struct {
		Name, Version, Missing string
	}
	Workloads []struct {
		Name string
		Rows []struct {
			Subject, Why string
			Rate         *struct{ Median, Min, Max float64 }
			Alloc, Free  *struct {
				Calls uint64
				P999  struct{ Median float64 }
			}
		}
	}
	Targets []struct {
		Name     string
		Bound    float64
		Measured *struct{ Median float64 }
	}
}

// TestBenchRunsAllPeers builds the peers and measures each of them once.
func TestBenchRunsAllPeers(t *testing.T) {
	cmd := exec.Command(filepath.Join(program, "shmheap"), "bench", "alloc", "--peers", "--quick", "--only", "^pairs/[12]$", "--json")
	cmd.Env = append(os.Environ(), "SHMHEAP_DIR="+filepath.Join(t.TempDir(), "heaps"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r benchReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Peers) != 7 || len(r.Workloads) != 2 {
		t.Fatalf("%d peers and %d workloads", len(r.Peers), len(r.Workloads))
	}
	missing := map[string]string{}
	for _, p := range r.Peers {
		missing[p.Name] = p.Missing
	}
	r.check(t, missing)
	for name, why := range missing {
		if why != "" {
			shmtest.Skip(t, name, why)
		}
	}
}

// check wants figures of all that are not missing.
func (r *benchReport) check(t *testing.T, missing map[string]string) {
	t.Helper()
	for _, w := range r.Workloads {
		ran := 0
		for _, row := range w.Rows {
			if row.Why != "" {
				if row.Subject != "glibc-mmap" && missing[row.Subject] == "" {
					t.Errorf("%s: %s did not run: %s", w.Name, row.Subject, row.Why)
				}
				continue
			}
			if ran++; row.Rate == nil || row.Rate.Min <= 0 || row.Alloc == nil || row.Alloc.Calls == 0 {
				t.Errorf("%s: nothing of %s: %+v", w.Name, row.Subject, row)
			}
		}
		if ran < 3 {
			t.Errorf("%s: only %d ran", w.Name, ran)
		}
	}
	for _, x := range r.Targets {
		if x.Name == "pairs, two processes beside one" && x.Measured == nil {
			t.Errorf("%s: not measured", x.Name)
		}
	}
}

// TestDocumentListsWorkloads compares doc/peers.md with what the command says.
func TestDocumentListsWorkloads(t *testing.T) {
	list, err := exec.Command(filepath.Join(program, "shmheap"), "bench", "alloc", "--list", "--markdown").Output()
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../doc/peers.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 1000 || !strings.Contains(string(document), string(list)) {
		t.Errorf("doc/peers.md has not this table:\n%s", list)
	}
}
