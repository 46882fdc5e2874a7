package sys

import "testing"

func TestParseVersion(t *testing.T) {
	for release, want := range map[string]Version{
		"6.18.44-fc-v669":                      {6, 18},
		"4.19":                                 {4, 19},
		"4.4.0-19041-Microsoft":                {4, 4},
		"5.10-rc3":                             {5, 10},
		"5.15.167.4-microsoft-standard-WSL2+":  {5, 15},
		"24.5.0":                               {24, 5},
		"6.1.0-18-amd64":                       {6, 1},
		"4.18.0-553.el8_10.x86_64 #1 SMP x.y.": {4, 18},
	} {
		if got, err := ParseVersion(release); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", release, got, err, want)
		}
	}
	for _, release := range []string{"", "6", "6.", ".1", "six.one", "-1.2", "6.x", "99999999999999999999.1"} {
		if got, err := ParseVersion(release); err == nil {
			t.Errorf("%q: %v, want an error", release, got)
		}
	}
}

func TestVersionAtLeast(t *testing.T) {
	for _, test := range []struct {
		v    Version
		want bool
	}{{Version{4, 18}, false}, {Version{4, 19}, true}, {Version{4, 20}, true}, {Version{3, 99}, false}, {Version{5, 0}, true}} {
		if got := test.v.AtLeast(4, 19); got != test.want {
			t.Errorf("%v at least 4.19: %t", test.v, got)
		}
	}
}

func TestKernelVersion(t *testing.T) {
	v, err := KernelVersion()
	if err != nil || v.Major < 2 {
		t.Errorf("%v, %v", v, err)
	}
}
