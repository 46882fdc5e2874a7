package alloc

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/shmheap/shmheap/heap"
)

// typeInfo is what is known of a type that may be stored.
type typeInfo struct {
	key         uintptr // typeKey of the type
	fingerprint heap.Fingerprint
	name        string
	err         error
}

// types remembers the verdicts, by reflect.Type; recent holds those that were asked for last, as a look-up in types
// takes longer than an allocation.
var (
	types  sync.Map
	recent [256]atomic.Pointer[typeInfo]
)

// typeKey tells types apart: the address of the runtime's descriptor of *T, as an interface holds it.
func typeKey[T any]() uintptr {
	holder := any((*T)(nil))
	return *(*uintptr)(unsafe.Pointer(&holder))
}

func typeOf[T any]() (*typeInfo, error) {
	key := typeKey[T]()
	info := recent[key>>5%uintptr(len(recent))].Load()
	if info == nil || info.key != key {
		info = lookUp(key, reflect.TypeFor[T]())
	}
	return info, info.err
}

func lookUp(key uintptr, t reflect.Type) *typeInfo {
	v, ok := types.Load(t)
	if !ok {
		info := inspect(t)
		info.key = key
		v, _ = types.LoadOrStore(t, info)
	}
	info := v.(*typeInfo)
	recent[key>>5%uintptr(len(recent))].Store(info)
	return info
}

func sizeOf[T any]() (uint64, error) {
	var zero T
	_, err := typeOf[T]()
	return uint64(unsafe.Sizeof(zero)), err
}

func inspect(t reflect.Type) *typeInfo {
	d := describer{seen: make(map[reflect.Type]int)}
	err := d.describe(t.String(), t)
	h := fnv.New64a()
	h.Write([]byte(d.text.String()))
	return &typeInfo{fingerprint: heap.Fingerprint(h.Sum64()), name: t.String(), err: err}
}

// describer writes a type's structure as text: kinds, sizes, offsets and field names, but no names of
// types or packages, so that two programs with their own copy of a declaration agree. A type met
// again is written as its number, which ends recursion. How package sync/atomic declares its types is
// Go's to change: they are written as what they hold.
type describer struct {
	text strings.Builder
	seen map[reflect.Type]int
}

func (d *describer) describe(path string, t reflect.Type) error {
	t = heldBy(t)
	if n, again := d.seen[t]; again {
		fmt.Fprintf(&d.text, "#%d", n)
		return nil
	}
	d.seen[t] = len(d.seen)
	if t.PkgPath() == "sync" {
		return fmt.Errorf("%w: %s is a %s, which waits for goroutines of one process only", ErrType, path, t)
	}
	switch k := t.Kind(); k {
	case reflect.Struct:
		return d.describeStruct(path, t)
	case reflect.Array:
		fmt.Fprintf(&d.text, "[%d]", t.Len())
		return d.describe(path+"[]", t.Elem())
	case reflect.Pointer:
		d.text.WriteByte('*')
		return d.describe("*"+path, t.Elem())
	case reflect.String, reflect.Slice, reflect.Map, reflect.Chan, reflect.Func, reflect.Interface:
		return fmt.Errorf("%w: %s is a %s, which Go's garbage collector owns", ErrType, path, k)
	default:
		fmt.Fprintf(&d.text, "%s%d", k, t.Size())
		return nil
	}
}

// heldBy returns the type that Load returns, for a type of package sync/atomic, and t for any other. A Bool is larger
// than a bool.
func heldBy(t reflect.Type) reflect.Type {
	if t.PkgPath() != "sync/atomic" {
		return t
	}
	load, ok := reflect.PointerTo(t).MethodByName("Load")
	switch {
	case t == reflect.TypeFor[atomic.Bool]():
		return reflect.TypeFor[uint32]()
	case !ok || load.Type.Out(0).Size() != t.Size():
		return t
	}
	return load.Type.Out(0)
}

func (d *describer) describeStruct(path string, t reflect.Type) error {
	d.text.WriteByte('{')
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type.Size() == 0 && f.Type.Kind() != reflect.Array {
			continue // markers such as structs.HostLayout
		}
		fmt.Fprintf(&d.text, "%d %s ", f.Offset, f.Name)
		if err := d.describe(path+"."+f.Name, f.Type); err != nil {
			return err
		}
		d.text.WriteByte(';')
	}
	d.text.WriteByte('}')
	return nil
}

func makeRoot[T any](a *Allocator, name string, p *T) (heap.Root, *typeInfo, error) {
	kind, err := typeOf[T]()
	if err != nil {
		return heap.Root{}, nil, err
	}
	r := heap.Root{Name: name, Type: kind.fingerprint, TypeName: kind.name}
	if p != nil {
		if r.Offset, err = a.offset(unsafe.Pointer(p)); err != nil {
			return heap.Root{}, nil, err
		}
	}
	return r, kind, nil
}

func rootPointer[T any](a *Allocator, r heap.Root, kind *typeInfo) (*T, error) {
	var zero T
	switch {
	case r.Type != kind.fingerprint:
		return nil, fmt.Errorf("%w: %q is a %s, not a %s: their fields differ", heap.ErrRootType, r.Name, r.TypeName, kind.name)
	case r.Offset == 0:
		return nil, nil
	}
	p := a.memory.Pointer(r.Offset)
	if !a.Contains(p, uint64(unsafe.Sizeof(zero))) || r.Offset%uint64(unsafe.Alignof(zero)) != 0 {
		return nil, a.corrupt(r.Offset, "root %q is no place for a %s", r.Name, kind.name)
	}
	return (*T)(p), nil
}
