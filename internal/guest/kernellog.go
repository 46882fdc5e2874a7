package guest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// KernelMarker begins the lines with which the first process repeats what the kernel has logged: level and
// text follow. It repeats a step's lines before the end of the step.
const KernelMarker = "@kernel "

// LogLost is what the first process says in place of lines that the kernel had thrown away before they
// were read.
const LogLost = "log lost"

// ParseRecord returns the level and the lines of a record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg),
// and false for one that a program wrote, which is not the kernel's word.
func ParseRecord(record string) (level int, lines []string, ok bool) {
	head, text, found := strings.Cut(record, ";")
	number, _, _ := strings.Cut(head, ",")
	priority, err := strconv.Atoi(number)
	const levels = 8 // facilities come in multiples of it; the kernel's is 0
	if !found || err != nil || priority < 0 || priority >= levels {
		return 0, nil, false
	}
	text, _, _ = strings.Cut(text, "\n ") // key and value lines follow
	return priority, strings.Split(unescape(strings.TrimRight(text, "\n")), "\n"), true
}

var escaped = regexp.MustCompile(`\\x[0-9a-f]{2}`)

// unescape undoes what the kernel does to characters that are not printable.
func unescape(text string) string {
	return escaped.ReplaceAllStringFunc(text, func(s string) string {
		c, _ := strconv.ParseUint(s[2:], 16, 8) // two digits: no error
		return string(rune(c))
	})
}

// KernelLine is the line that repeats one of the kernel's.
func KernelLine(level int, text string) string {
	return fmt.Sprintf("%s%d %s", KernelMarker, level, text)
}

// raw is a line that the kernel has written to the console itself, with its time in front.
var raw = regexp.MustCompile(`^\[ *\d+\.\d+\](\[[ TC]*\d+\])? `)

// kernelText returns the text of a line of the console that is the kernel's.
func kernelText(line string) (text string, repeated, ok bool) {
	if rest, repeated := strings.CutPrefix(line, KernelMarker); repeated {
		_, text, _ := strings.Cut(rest, " ")
		return text, true, true
	}
	if at := raw.FindString(line); at != "" {
		return line[len(at):], false, true
	}
	return "", false, false
}

// complaint is how the kernel begins to say that something in it is wrong. What a program did wrong, such as
// a segmentation fault, is not meant.
var complaint = regexp.MustCompile(`\bBUG: |\bBUG [a-z0-9_-]+ |WARNING: |KASAN: |KFENCE: |UBSAN: |Oops|Kernel panic|kernel BUG at|` +
	`general protection fault, |[Uu]nable to handle|cut here|INFO: task .* blocked|INFO: rcu|rcu: INFO|detected stall|` +
	`soft lockup|hard LOCKUP|possible (circular|recursive|irq)|inconsistent lock state|suspicious RCU|ODEBUG: |` +
	`refcount_t: |list_(add|del) |new suspected memory leaks|unreferenced object|[Cc]all [Tt]race|DEBUG_LOCKS|` +
	`scheduling while atomic|sleeping function called|page allocation failure|stack is corrupted|` + LogLost)

// race is the title of a report of KCSAN, which watches the whole kernel and finds races that are not ours.
var race = regexp.MustCompile(`BUG: KCSAN: .*`)

// reportEnd is the line below a report of KCSAN.
var reportEnd = regexp.MustCompile(`^={20,}$`)

// Complaints returns the lines in which a kernel complains. A report of a data race counts only when its
// title, which has the two functions that met, names one of the modules.
func Complaints(lines, modules []string) (found []string) {
	foreign := false // inside a report that does not count
	for _, line := range lines {
		switch {
		case race.MatchString(line):
			foreign = !names(line, modules)
		case foreign:
			foreign = !reportEnd.MatchString(line)
			continue
		}
		if !foreign && complaint.MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

// names reports whether a line has the name of one of the modules, as the kernel prints it behind a symbol.
func names(line string, modules []string) bool {
	for _, m := range modules {
		if strings.Contains(line, "["+m+"]") {
			return true
		}
	}
	return false
}

// leaked begins a report of kmemleak, and unnamed is an address in it that belongs to no symbol: of a
// module that is gone.
var (
	leaked  = regexp.MustCompile(`^unreferenced object `)
	unnamed = regexp.MustCompile(`\] 0x[0-9a-f]+\s*$|^\s+0x[0-9a-f]{16}\s*$`)
)

// Leaks returns the reports in a text of kmemleak about objects that one of the modules allocated, or a
// module that has been removed since.
func Leaks(text string, modules []string) (reports []string) {
	var report []string
	flush := func() {
		for _, line := range report {
			if names(line, modules) || unnamed.MatchString(line) {
				reports = append(reports, strings.Join(report, "\n"))
				break
			}
		}
		report = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if leaked.MatchString(line) {
			flush()
		}
		if len(report) > 0 || leaked.MatchString(line) {
			report = append(report, line)
		}
	}
	flush()
	return reports
}
