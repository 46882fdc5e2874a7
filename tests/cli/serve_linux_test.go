package cli

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/queue"
)

// site is a "shmheap serve" that has said where.
type site struct{ URL, API, Metrics string }

func (w *workload) serve() (*site, *shmtest.Process) {
	w.t.Helper()
	p := shmtest.StartCommand(w.t, w.shmheap("serve", "orders", "--interval", "100ms", "--json"))
	var text strings.Builder
	for line := ""; line != "}"; {
		line = p.Hear()
		text.WriteString(line)
	}
	s := new(site)
	if err := json.Unmarshal([]byte(text.String()), s); err != nil {
		w.t.Fatalf("%v: %s", err, text.String())
	}
	return s, p
}

func fetch(t *testing.T, address, bearer string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// TestServeToken: without the token, or with another, there is nothing to be had.
func TestServeToken(t *testing.T) {
	w := newWorkload(t)
	s, p := w.serve()
	for _, address := range []string{s.URL, s.API, s.Metrics} {
		bare, token, _ := strings.Cut(address, "?token=")
		if status, text := fetch(t, address, ""); status != http.StatusOK || text == "" {
			t.Errorf("%s: %d", address, status)
		}
		if status, _ := fetch(t, bare, token); status != http.StatusOK {
			t.Errorf("bearer of %s: %d", bare, status)
		}
		for _, wrong := range []string{bare, bare + "?token=", bare + "?token=" + strings.Repeat("0", len(token))} {
			if status, text := fetch(t, wrong, ""); status != http.StatusForbidden || strings.Contains(text, "orders") {
				t.Errorf("%s: %d %q", wrong, status, text)
			}
		}
	}
	if at, err := url.Parse(s.URL); err != nil || at.Hostname() != "127.0.0.1" {
		t.Errorf("it listens at %s, %v", s.URL, err)
	}
	p.Signal(syscall.SIGINT)
	p.Wait()
}

// TestMetrics: what Prometheus reads is well-formed and true.
func TestMetrics(t *testing.T) {
	w := newWorkload(t)
	s, _ := w.serve()
	value := func(name string, labels ...string) float64 {
		t.Helper()
		_, text := fetch(t, s.Metrics, "")
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for _, m := range families[name].GetMetric() {
			if hasLabels(m, append(labels, "heap", "orders")) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		return -1
	}
	pid := strconv.Itoa(w.worker.Process.Pid)
	if v := value("shmheap_size_bytes"); v != 64<<20 {
		t.Errorf("size %v", v)
	}
	if v := value("shmheap_peer_up", "pid", pid, "program", "churn"); v != 1 {
		t.Errorf("the worker is %v", v)
	}
	w.until("the worker's queue is there", func() bool { return value("shmheap_queue_capacity", "queue", "jobs", "kind", "mpmc") == 64 })
	first := value("shmheap_peer_allocs_total", "pid", pid)
	w.until("the worker allocates", func() bool { return value("shmheap_peer_allocs_total", "pid", pid) > first && first >= 0 })
	w.kill()
	w.until("the worker is down", func() bool { return value("shmheap_peer_up", "pid", pid) == 0 })
}

func hasLabels(m *dto.Metric, want []string) bool {
	for i := 0; i < len(want); i += 2 {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName() == want[i] && l.GetValue() == want[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

// makeQueue makes a queue of that name, as a peer that is gone then.
func (w *workload) makeQueue(name string) {
	w.t.Helper()
	h, err := heap.Open("orders", &heap.Options{Dir: w.dir})
	if err != nil {
		w.t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err == nil {
		_, err = queue.Open(a, name, &queue.Options{Capacity: 2})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestPage: in a browser the page draws, follows the heap, and shows who was killed. SHMHEAP_SCREENSHOT is a file for
// what it looks like then.
func TestPage(t *testing.T) {
	w := newWorkload(t)
	const hostile = `<img src=x onerror="document.title='hit'">`
	w.makeQueue(hostile)
	s, _ := w.serve()
	b := startBrowser(t, s.URL)
	w.until("the page shows the worker", func() bool {
		return strings.Contains(b.eval(`document.getElementById("peers")?.textContent ?? ""`), "churn")
	})
	for id, want := range map[string]string{"name": "orders", "queues": "jobs", "classes": "size", "legend": "64 KiB", "words": "largest free run"} {
		if got := b.eval(`document.getElementById("` + id + `").textContent`); !strings.Contains(got, want) {
			t.Errorf("%s is %q, without %q", id, got, want)
		}
	}
	if got := b.eval(`document.querySelector("img") + document.title + document.getElementById("queues").textContent`); !strings.HasPrefix(got, "nullheap orders") || !strings.Contains(got, hostile) {
		t.Errorf("a name is more than text: %q", got)
	}
	const colours = `new Set(new Uint32Array(document.getElementById("map").getContext("2d").getImageData(0, 0, 1152, 20).data.buffer)).size`
	if n, _ := strconv.Atoi(b.eval(colours)); n < 3 {
		t.Errorf("the map has %d colours", n)
	}
	const allocs = `[...document.querySelectorAll("#peers tr")].at(-1).children[5].textContent`
	looks, before := b.eval("document.body.dataset.looks"), b.eval(allocs)
	w.until("the page follows", func() bool { return b.eval("document.body.dataset.looks") != looks && b.eval(allocs) != before })
	b.eval(`document.querySelectorAll("#classes th")[1].click()`)
	if got := b.eval(`document.querySelectorAll("#classes th")[1].textContent`); !strings.Contains(got, "▾") {
		t.Errorf("a click does not sort: %q", got)
	}
	w.kill()
	pid := strconv.Itoa(w.worker.Process.Pid)
	w.until("the page shows the dead", func() bool {
		return strings.Contains(b.eval(`document.querySelector("#peers tr.dead")?.textContent ?? ""`), pid)
	})
	b.mustHaveNoErrors()
	shot := b.screenshot()
	if _, err := png.Decode(bytes.NewReader(shot)); err != nil {
		t.Error(err)
	}
	if file := os.Getenv("SHMHEAP_SCREENSHOT"); file != "" {
		if err := os.WriteFile(file, shot, 0o600); err != nil {
			t.Error(err)
		}
	}
}
