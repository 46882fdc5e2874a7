package lint

import "testing"

func TestForbiddenWords(t *testing.T) {
	for _, word := range append(append([]string{}, machinePaths...), registries...) {
		verify(t, forbiddenWords, []example{
			{"README.md", "first\nsee `" + word + "x`\n", []string{"README.md:2: forbidden word " + word}},
			{"go.sum", word, nil},
		})
	}
	for _, mark := range marks {
		verify(t, forbiddenWords, []example{
			{"kmod/ring.c", "/* " + mark + ": later */", []string{"kmod/ring.c:1: forbidden word " + mark}},
			{"Makefile", "mktemp " + mark + mark + "; x" + mark, nil},
		})
	}
	work, home := machinePaths[0], machinePaths[1]
	verify(t, forbiddenWords, []example{
		{"a.txt", "net" + work + "x $TMP" + home + "x ${TMP}" + work + "x a." + home, nil},
		{"a.txt", work + " " + home, []string{"a.txt:1: forbidden word " + home, "a.txt:1: forbidden word " + work}},
		{"a.txt", "file://" + home, []string{"a.txt:1: "}},
	})
}
