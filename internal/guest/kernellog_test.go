package guest

import (
	"slices"
	"strings"
	"testing"
)

func TestParseRecord(t *testing.T) {
	tests := []struct {
		record string
		level  int
		lines  []string
		ok     bool
	}{
		{"6,339,5140900,-;NET: Registered PF_INET\n", 6, []string{"NET: Registered PF_INET"}, true},
		{"4,1,2,-,caller=T1;pci: BAR\n SUBSYSTEM=pci\n DEVICE=+pci:0000\n", 4, []string{"pci: BAR"}, true},
		{"3,1,2,c;a\\x0ab\\x5cn\n", 3, []string{"a", `b\n`}, true},
		{"12,1,2,-;BUG: says a program\n", 0, nil, false},
		{"6,1,2,-\n", 0, nil, false},
		{"x,1,2,-;text\n", 0, nil, false},
	}
	for _, test := range tests {
		level, lines, ok := ParseRecord(test.record)
		if level != test.level || !slices.Equal(lines, test.lines) || ok != test.ok {
			t.Errorf("%q: %d %q %t", test.record, level, lines, ok)
		}
	}
}

// TestComplaints takes lines of real kernels, of 6.1 and 6.12.
func TestComplaints(t *testing.T) {
	for _, line := range []string{
		"BUG: KASAN: slab-out-of-bounds in kx_ioctl+0x1b2/0x4c0 [kx]", "WARNING: possible circular locking dependency detected",
		"WARNING: CPU: 1 PID: 77 at lib/refcount.c:28 refcount_warn_saturate+0xf7/0x150", "------------[ cut here ]------------",
		"BUG: scheduling while atomic: kx/83/0x00000002", "BUG: sleeping function called from invalid context at mm.h:1",
		"UBSAN: shift-out-of-bounds in planted.c:40:12", "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [x:1]",
		"BUG: unable to handle page fault for address: ffffc9000001d000", "Oops: general protection fault, probably for non-canonical",
		"Unable to handle kernel paging request at virtual address ffff80", "Internal error: Oops: 0000000096000004 [#1] SMP",
		"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "INFO: task x:12 blocked for more than 120 seconds.",
		"kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", "unreferenced object 0xffff88800 (size 512):",
		"BUG kmalloc-64 (Tainted: G           O      ): Redzone overwritten", "ODEBUG: free active (active state 0) object: 1",
		"list_add corruption. prev->next should be next", "Kernel panic - not syncing: Fatal exception", LogLost,
		"BUG: KCSAN: data-race in racer [kx] / racer [kx]", "Call Trace:", "Call trace:", "kernel BUG at mm/slub.c:1!",
	} {
		if got := Complaints([]string{line}, []string{"kx"}); len(got) != 1 {
			t.Errorf("no complaint: %s", line)
		}
	}
	for _, line := range []string{
		"kx: loading out-of-tree module taints kernel.", "module verification failed: signature and/or required key missing",
		"x[123]: segfault at 0 ip 0000000000401000 sp 00007ffd error 4 in x[401000+1000]", "kx: a debug build",
		"traps: x[12] general protection fault ip:401000 sp:7ffd error:0 in x[400000+1000]", "** This means that this is a DEBUG kernel and it is     **",
		"clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable", "kmemleak: Kernel memory leak detector initialized",
	} {
		if got := Complaints([]string{line}, []string{"kx"}); len(got) != 0 {
			t.Errorf("complaint: %s", line)
		}
	}
}

// TestRacesOfOthers: a report of a race that is not ours does not count, with all its lines, and what
// follows it does.
func TestRacesOfOthers(t *testing.T) {
	const bar = "=================================================================="
	report := func(title string) []string {
		return []string{bar, "BUG: KCSAN: data-race in " + title, "", "write to 0xffff88 of 8 bytes by task 3 on cpu 1:",
			" f+0x1/0x2 [kx]", "Call Trace:", "value changed: 0x1 -> 0x2", bar}
	}
	lines := slices.Concat(report("lapic_cal_handler / calibrate_APIC_clock"), []string{"WARNING: after"},
		report("f [kx] / copy_to_user"), report("g [other] / g [other]"))
	got := Complaints(lines, []string{"kx", "ky"})
	want := []string{"WARNING: after", "BUG: KCSAN: data-race in f [kx] / copy_to_user", "Call Trace:"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLeaks(t *testing.T) {
	report := func(frames ...string) string {
		return "unreferenced object 0xffff888003d5a000 (size 512):\n  comm \"insmod\", pid 80, jiffies 4294\n" +
			"  backtrace (crc 0):\n    " + strings.Join(frames, "\n    ") + "\n"
	}
	ours := report("[<ffffffff81>] __kmalloc+0x2/0x3", "[<ffffffffc0>] start+0x1/0x2 [kx]")
	gone := report("[<ffffffff81>] __kmalloc+0x2/0x3", "[<ffffffffc0>] 0xffffffffc0001234")
	text := report("[<ffffffff81>] kernel_init+0x1/0x2") + ours + report("[<f>] start+0x1/0x2 [ky]") + gone
	if got := Leaks(text, []string{"kx"}); len(got) != 2 || got[0]+"\n" != ours || got[1]+"\n" != gone {
		t.Errorf("%q", got)
	}
	if got := Leaks("", []string{"kx"}); got != nil {
		t.Errorf("%q", got)
	}
}
