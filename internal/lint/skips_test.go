package lint

import "testing"

func TestSkips(t *testing.T) {
	const file, where = "heap/a_test.go", "heap/a_test.go:3: skip through shmtest.Skip"
	verify(t, skips, []example{
		{file, "package p\nfunc TestA(t *testing.T) {\n\tshmtest.Skip(t, why, what)\n}\n", nil},
		{file, "package p\nfunc TestA(t *testing.T) {\n\tt.Skip(why)\n}\n", []string{where}},
		{file, "package p\nfunc need(tb testing.TB) {\n\ttb.Skipf(why)\n}\n", []string{where}},
		{file, "package p\nfunc FuzzA(f *testing.F) {\n\tf.SkipNow()\n}\n", []string{where}},
		{file, "package p\nfunc TestA(t *testing.T) {\n\tfunc(i int) { t.SkipNow() }(1)\n}\n", []string{where}},
		{file, "package p\nvar a = []any{\n\tfunc(t *testing.T) { t.Skip() },\n}\n", []string{where}},
		// One problem, although one function is inside the other.
		{file, "package p\nfunc TestA(t *testing.T) {\n\tt.Run(x, func(t *testing.T) { t.Skip() })\n}\n", []string{where}},
		// The Skip of package rapid discards one random input.
		{file, "package p\nfunc TestA(t *testing.T) {\n\trapid.Check(t, func(t *rapid.T) { t.Skip() })\n}\n", nil},
		{"internal/shmtest/skip.go", "package p\nfunc Skip(t testing.TB) {\n\tt.Skip()\n}\n", nil},
	})
}
