package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// A profile is stored as JSON. "runs" is the truth: a line for each run with its ranges, START-END in
// hexadecimal without 0x, ascending. "occupied" follows from it and is there for people and for tools
// such as jq; of it only the names are read back.
type profileJSON struct {
	Format     string         `json:"format"`
	Program    []string       `json:"program"`
	Made       time.Time      `json:"made"`
	N          int            `json:"n"`
	Unsettled  int            `json:"unsettled"`
	Ended      int            `json:"ended"`
	Settings   settingsJSON   `json:"settings"`
	Resolution uint64         `json:"resolution"`
	Occupied   []occupiedJSON `json:"occupied"`
	Runs       []string       `json:"runs"`
}

type settingsJSON struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Bits       int    `json:"address_bits"`
	Kernel     string `json:"kernel"`
	Randomise  int64  `json:"randomize_va_space"`
	RandomBits int64  `json:"mmap_rnd_bits"`
	StackLimit int64  `json:"stack_limit"` // bytes, 0 for unlimited
}

type occupiedJSON struct {
	Start string   `json:"start"` // hexadecimal
	End   string   `json:"end"`
	Runs  int      `json:"runs"`
	Kind  string   `json:"kind"` // "fixed" or "random"
	Names []string `json:"names"`
}

const profileFormat = "shmheap-profile-1"

// What is read from a file is bounded, so that a wrong one is an error soon.
const (
	maxProfileSize   = 64 << 20 // bytes
	maxProfileRanges = 1 << 20
)

// WriteProfile writes p as JSON.
func WriteProfile(w io.Writer, p *Profile) error {
	j := profileJSON{
		Format: profileFormat, Program: p.Program, Made: p.Made, N: len(p.Runs), Unsettled: p.Unsettled, Ended: p.Ended,
		Settings:   settingsJSON(p.Settings),
		Resolution: Resolution,
	}
	for _, o := range p.Occupied {
		kind := "fixed"
		if o.Random {
			kind = "random"
		}
		j.Occupied = append(j.Occupied, occupiedJSON{hex(o.Start), hex(o.End), o.Runs, kind, o.Names})
	}
	for _, run := range p.Runs {
		j.Runs = append(j.Runs, runText(run))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(j)
}

func hex(n uint64) string { return fmt.Sprintf("%#x", n) }

func runText(run []Range) string {
	words := make([]string, len(run))
	for i, r := range run {
		words[i] = fmt.Sprintf("%x-%x", r.Start, r.End)
	}
	return strings.Join(words, " ")
}

// LoadProfile reads a profile from the file at path. The errors are those of ReadProfile and of os.Open.
func LoadProfile(path string) (*Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := ReadProfile(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return p, nil
}

// ReadProfile reads what WriteProfile wrote. Whatever the bytes are it returns a profile that is sound
// or an error that wraps ErrProfile, or the error of r.
func ReadProfile(r io.Reader) (*Profile, error) {
	limited := &io.LimitedReader{R: r, N: maxProfileSize}
	decoder := json.NewDecoder(limited)
	var j profileJSON
	err := decoder.Decode(&j)
	switch {
	case limited.N == 0:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrProfile, maxProfileSize)
	case err != nil && !isSyntax(err):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	p, err := j.profile()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	return p, nil
}

// isSyntax reports whether an error of the decoder is about the text and not about the file.
func isSyntax(err error) bool {
	var pathError *os.PathError
	return !errors.As(err, &pathError)
}

func (j *profileJSON) profile() (*Profile, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	p := &Profile{
		Program: j.Program, Made: j.Made, Unsettled: j.Unsettled, Ended: j.Ended,
		Settings: Settings(j.Settings),
	}
	total := 0
	for i, text := range j.Runs {
		run, err := parseRun(text)
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", i, err)
		}
		if total += len(run); total > maxProfileRanges {
			return nil, fmt.Errorf("more than %d ranges", maxProfileRanges)
		}
		p.Runs = append(p.Runs, run)
	}
	p.Occupied = summarise(p.Runs)
	return p, j.names(p)
}

func (j *profileJSON) check() error {
	switch {
	case j.Format != profileFormat:
		return fmt.Errorf("format is %.40q, want %q", j.Format, profileFormat)
	case len(j.Program) == 0:
		return errors.New("no program")
	case len(j.Runs) == 0 || j.N != len(j.Runs):
		return fmt.Errorf("n is %d, and there are %d runs", j.N, len(j.Runs))
	case j.Unsettled < 0 || j.Unsettled > j.N || j.Ended < 0:
		return fmt.Errorf("%d of %d runs unsettled, %d ended", j.Unsettled, j.N, j.Ended)
	case j.Resolution != Resolution:
		return fmt.Errorf("resolution is %d, want %d", j.Resolution, Resolution)
	case j.Settings.Bits < 0 || j.Settings.Bits > 64:
		return fmt.Errorf("%d address bits", j.Settings.Bits)
	}
	return nil
}

// parseRun reads "START-END START-END ...".
func parseRun(text string) ([]Range, error) {
	var run []Range
	for word := range strings.FieldsSeq(text) {
		first, second, _ := strings.Cut(word, "-")
		start, err := strconv.ParseUint(first, 16, 64)
		if err != nil {
			return nil, err
		}
		end, err := strconv.ParseUint(second, 16, 64)
		if err != nil {
			return nil, err
		}
		if start >= end || end > 1<<63 || start%Guard != 0 || end%Guard != 0 {
			return nil, fmt.Errorf("bad range %q", word)
		}
		if last := len(run) - 1; last >= 0 && (start < run[last].End || start-run[last].End < Resolution) {
			return nil, fmt.Errorf("range %q is not above the one before by %#x", word, Resolution)
		}
		run = append(run, Range{start, end})
		if len(run) > maxProfileRanges {
			return nil, fmt.Errorf("more than %d ranges", maxProfileRanges)
		}
	}
	return run, nil
}

// names gives the ranges of p the names that the file has for them.
func (j *profileJSON) names(p *Profile) error {
	type key struct {
		start  uint64
		random bool
	}
	names := make(map[key][]string)
	for _, o := range j.Occupied {
		start, err := strconv.ParseUint(o.Start, 0, 64)
		if err != nil {
			return err
		}
		names[key{start, o.Kind == "random"}] = o.Names[:min(3, len(o.Names))]
	}
	for i, o := range p.Occupied {
		p.Occupied[i].Names = names[key{o.Start, o.Random}]
	}
	return nil
}
