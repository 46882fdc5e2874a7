package heap

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// lasting are the methods that go on answering after Close, because they need no mapping.
var lasting = []string{"Name", "ID", "Path", "Base", "Size", "Memory", "Geometry", "Peer"}

// TestUseAfterClose calls every method of a closed heap: one that returns an error returns ErrClosed,
// the others return zero, and none touches the mapping.
func TestUseAfterClose(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(h)
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		t.Run(name, func(t *testing.T) {
			m := v.Method(i)
			args := make([]reflect.Value, m.Type().NumIn())
			for j := range args {
				args[j] = argument(h, name, m.Type().In(j))
			}
			wantClosed(t, name, m.Call(args))
		})
	}
}

// argument returns one that would be valid if the heap were open.
func argument(h *Heap, method string, kind reflect.Type) reflect.Value {
	switch v := reflect.New(kind).Elem(); {
	case kind == reflect.TypeFor[Root]():
		return reflect.ValueOf(Root{Name: "root"})
	case kind.Kind() == reflect.Func:
		return reflect.MakeFunc(kind, func([]reflect.Value) (zeros []reflect.Value) {
			for i := range kind.NumOut() {
				zeros = append(zeros, reflect.Zero(kind.Out(i)))
			}
			return zeros
		})
	case kind == reflect.TypeFor[context.Context]():
		return reflect.ValueOf(context.Background())
	case kind.Kind() == reflect.String:
		v.SetString("root")
		return v
	case kind == reflect.TypeFor[PeerID]():
		return reflect.ValueOf(h.Peer())
	case kind.Kind() == reflect.Uint64 && method != "IsCommitted":
		v.SetUint(h.geometry.Sections.Data)
		return v
	default:
		return v
	}
}

func wantClosed(t *testing.T, name string, results []reflect.Value) {
	t.Helper()
	for _, r := range results {
		switch v := r.Interface().(type) {
		case error:
			wantError(t, name, v, ErrClosed)
			return
		case *Report:
			if len(v.Problems) == 0 {
				t.Error("a closed heap checks clean")
			}
			return
		}
	}
	if last := results[len(results)-1]; last.Type() == reflect.TypeFor[error]() {
		t.Errorf("%s succeeded", name)
	}
	for _, r := range results {
		if !r.IsZero() && !slices.Contains(lasting, name) {
			t.Errorf("%s returned %v", name, r)
		}
	}
}

func TestOnClose(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	var order []int
	broken := errors.New("broken")
	for i := range 3 {
		hook := func() error {
			if order = append(order, i); h.Committed() == 0 {
				t.Error("the mapping is gone when a hook runs")
			}
			if i == 1 {
				return broken
			}
			return nil
		}
		if _, err := h.OnClose(hook); err != nil {
			t.Fatal(err)
		}
	}
	forget, err := h.OnClose(func() error { t.Error("a hook that was forgotten ran"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	forget()
	forget()
	_, late := h.OnClose(func() error {
		_, err := h.OnClose(func() error { return nil })
		wantError(t, "OnClose in a hook", err, ErrClosed)
		wantError(t, "Close in a hook", h.Close(), ErrClosed)
		return nil
	})
	if late != nil {
		t.Fatal(late)
	}
	wantError(t, "close", h.Close(), broken)
	if !slices.Equal(order, []int{2, 1, 0}) {
		t.Errorf("hooks ran in the order %v", order)
	}
}

// TestCloseOnce: of many that close at once one does it, while others use the heap.
func TestCloseOnce(t *testing.T) {
	o := newOptions(t)
	for range 20 {
		h, err := Create("a", o)
		if err != nil {
			t.Fatal(err)
		}
		var closed, hooks atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := h.OnClose(func() error { hooks.Add(1); return nil }); err != nil {
					wantError(t, "OnClose", err, ErrClosed)
					hooks.Add(1)
				}
				if err := h.StoreRoot(Root{Name: "r", Offset: data(h, 1)}); err != nil {
					wantError(t, "StoreRoot", err, ErrClosed)
				}
				h.IsCommitted(data(h, 1))
				if err := h.Close(); err == nil {
					closed.Add(1)
				} else {
					wantError(t, "Close", err, ErrClosed)
				}
			})
		}
		all.Wait()
		if closed.Load() != 1 || hooks.Load() != 4 {
			t.Fatalf("closed %d times; %d hooks ran or were refused, of 4", closed.Load(), hooks.Load())
		}
		if err := Remove("a", o); err != nil {
			t.Fatal(err)
		}
	}
}
