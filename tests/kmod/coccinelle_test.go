package kmod

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/guest/lab"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// plantedC is what one of the patches must find.
const plantedC = `
static int plant(void)
{
	int *p = kmalloc(sizeof(*p), GFP_KERNEL);

	kfree(p);
	return *p;
}
`

var (
	// cocciOptions are in the head of a patch.
	cocciOptions = regexp.MustCompile(`(?m)^// *Options:(.*)$`)
	// finding is a line of a report.
	finding = regexp.MustCompile(`(?m)^\S+\.[ch]:\d+.*$`)
)

// TestCoccinelle has the kernel's semantic patches look for what they know of mistakes. It takes minutes of a
// processor.
func TestCoccinelle(t *testing.T) {
	if os.Getenv("SHMHEAP_KMOD") != "full" {
		shmtest.SkipAnywhere(t, "it takes minutes: SHMHEAP_KMOD is not full")
	}
	spatch, err := exec.LookPath("spatch")
	if err != nil {
		shmtest.Skip(t, err.Error(), "install coccinelle")
	}
	source, err := guest.Source("6.12")
	lab.Must(t, err)
	patches, err := filepath.Glob(filepath.Join(source, "scripts", "coccinelle", "*", "*.cocci"))
	if err != nil || len(patches) < 50 {
		t.Fatalf("%d patches, %v", len(patches), err)
	}
	planted := filepath.Join(t.TempDir(), "planted.c")
	if err := os.WriteFile(planted, []byte(plantedC), 0o600); err != nil {
		t.Fatal(err)
	}
	found := false
	for patch, text := range reportAll(t, spatch, patches, append(sourceFiles(t, "*.c", "samples/*.c"), planted)) {
		for _, line := range finding.FindAllString(text, -1) {
			if strings.HasPrefix(line, planted) {
				found = true
			} else {
				t.Errorf("%s: %s", filepath.Base(patch), line)
			}
		}
	}
	if !found {
		t.Error("the planted use of freed memory was not found")
	}
}

// reportAll returns what each patch says of the files.
func reportAll(t *testing.T, spatch string, patches, files []string) map[string]string {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	reports, work := map[string]string{}, make(chan string)
	for range runtime.NumCPU() {
		all.Go(func() {
			for patch := range work {
				text := report(t.Context(), spatch, patch, files)
				mu.Lock()
				reports[patch] = text
				mu.Unlock()
			}
		})
	}
	for _, patch := range patches {
		work <- patch
	}
	close(work)
	all.Wait()
	return reports
}

// report returns what a patch says. Some cannot be used without a tree of the kernel, and say nothing.
func report(ctx context.Context, spatch, patch string, files []string) string {
	args := []string{"-D", "report", "--very-quiet", "--no-show-diff", "--timeout", "60", "--cocci-file", patch, "-I", "include", "-I", "uapi"}
	head, err := os.ReadFile(patch)
	if err != nil {
		return err.Error()
	}
	if m := cocciOptions.FindSubmatch(head); m != nil {
		args = append(args, strings.Fields(string(m[1]))...)
	}
	cmd := exec.CommandContext(ctx, spatch, append(args, files...)...)
	cmd.Dir = sources["kmod"]
	out, _ := cmd.Output() // what is not usable here ends with an error
	return string(out)
}
