package bench

import (
	"unsafe"

	"github.com/shmheap/shmheap/internal/mem"
)

// cacheLoops are the loops over a Cache. Their counterparts in C++ are in peers/loops.h. Each frees what
// it has allocated before it returns, so that afterwards the heap can be asked whether the counts hold.
type cacheLoops struct {
	*run
	src cacheSource
}

//go:generate go test -run LoopCopies -update

func (l *cacheLoops) all() map[string]func() error {
	return map[string]func() error{
		loopPairs: l.pairs, loopFill: l.fill, loopDrain: l.drain, loopReplace: l.replace,
		loopNodes: l.nodes, loopTouch: l.touch, loopUntouched: l.untouched, loopBatches: l.batches,
		loopScratch: l.scratch, loopLarson: l.larson, loopPipe: l.pipe, loopHandover: l.handover, loopXmalloc: l.xmalloc, loopMstress: l.mstress,
	}
}

// put allocates a block and writes its first word.
func (l *cacheLoops) put(i uint64) (unsafe.Pointer, error) {
	p, err := l.src.Alloc(uint64(l.sizes[i&sizeMask]))
	if err != nil {
		return nil, err
	}
	*(*uint64)(p) = i
	return p, nil
}

func (l *cacheLoops) freeOffset(off uint64) error { return l.src.Free(l.memory.Pointer(off)) }

func (l *cacheLoops) offset(p unsafe.Pointer) uint64 { return uint64(uintptr(p) - l.memory.Base()) }

func (l *cacheLoops) fillWith(live []unsafe.Pointer) (err error) {
	for i := range live {
		if live[i], err = l.put(uint64(i)); err != nil {
			return err
		}
	}
	return nil
}

func (l *cacheLoops) pairs() error {
	var live [512]unsafe.Pointer
	if err := l.fillWith(live[:]); err != nil {
		return err
	}
	l.begin()
	n := uint64(0)
	for !l.over() {
		for end := n + batch; n < end; n++ {
			k := n * 7 & (uint64(len(live)) - 1)
			if err := l.src.Free(live[k]); err != nil {
				return err
			}
			p, err := l.src.Alloc(uint64(l.sizes[n&sizeMask]))
			if err != nil {
				return err
			}
			*(*uint64)(p) = n
			live[k] = p
		}
	}
	l.end(n)
	return l.freeForward(live[:])
}

func (l *cacheLoops) fill() error {
	live := make([]unsafe.Pointer, burst)
	l.begin()
	n := uint64(0)
	for forward := true; !l.over(); forward = !forward {
		if err := l.allocBurst(live, n); err != nil {
			return err
		}
		free := l.freeForward
		if !forward {
			free = l.freeBackward
		}
		if err := free(live); err != nil {
			return err
		}
		n += burst
	}
	l.end(n)
	return nil
}

func (l *cacheLoops) allocBurst(live []unsafe.Pointer, n uint64) error {
	for i := range live {
		p, err := l.src.Alloc(uint64(l.sizes[(n+uint64(i))&sizeMask]))
		if err != nil {
			return err
		}
		*(*uint64)(p) = n
		live[i] = p
	}
	return nil
}

func (l *cacheLoops) freeForward(live []unsafe.Pointer) error {
	for _, p := range live {
		if err := l.src.Free(p); err != nil {
			return err
		}
	}
	return nil
}

func (l *cacheLoops) freeBackward(live []unsafe.Pointer) error {
	for i := len(live) - 1; i >= 0; i-- {
		if err := l.src.Free(live[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *cacheLoops) drain() error {
	live := make([]unsafe.Pointer, burst)
	l.begin()
	n := uint64(0)
	for ; !l.over(); n += burst {
		if err := l.allocBurst(live, n); err != nil {
			return err
		}
		if err := l.freeForward(live); err != nil {
			return err
		}
	}
	l.end(n)
	return nil
}

func (l *cacheLoops) replace() error {
	live := make([]unsafe.Pointer, 2048)
	if err := l.fillWith(live); err != nil {
		return err
	}
	l.begin()
	n := uint64(0)
	for !l.over() {
		for end := n + batch/16; n < end; n++ {
			k := l.random() >> 20 & 2047
			if err := l.src.Free(live[k]); err != nil {
				return err
			}
			p, err := l.src.Alloc(uint64(l.sizes[n&sizeMask]))
			if err != nil {
				return err
			}
			*(*uint64)(p) = n
			live[k] = p
		}
	}
	l.end(n)
	return l.freeForward(live)
}

func (l *cacheLoops) nodes() error {
	l.begin()
	n := uint64(0)
	for ; !l.over(); n += listLength {
		var list *node
		for i := range uint64(listLength) {
			next, err := cacheSourceNode(l.src)
			if err != nil {
				return err
			}
			next.next, next.key = list, i
			list = next
		}
		for list != nil {
			first := list
			list = first.next
			if err := cacheSourceDrop(l.src, first); err != nil {
				return err
			}
		}
	}
	l.end(n)
	return nil
}

func (l *cacheLoops) touch() error     { return l.bigBlocks(4096) }
func (l *cacheLoops) untouched() error { return l.bigBlocks(0) }

// bigBlocks writes a byte every stride, none when that is 0.
func (l *cacheLoops) bigBlocks(stride uint64) error {
	var live [4]unsafe.Pointer
	l.begin()
	n := uint64(0)
	for ; !l.over(); n++ {
		k := n & 3
		if live[k] != nil {
			if err := l.src.Free(live[k]); err != nil {
				return err
			}
		}
		size := uint64(l.sizes[n&sizeMask])
		p, err := l.src.Alloc(size)
		if err != nil {
			return err
		}
		live[k] = p
		for off := uint64(0); stride != 0 && off < size; off += stride {
			*(*byte)(unsafe.Add(p, off)) = 1
		}
	}
	l.end(n)
	return l.freeForward(live[:min(n, 4)])
}

func (l *cacheLoops) batches() error {
	var window [8][64]unsafe.Pointer
	l.begin()
	n := uint64(0)
	for round := uint64(0); !l.over(); round++ {
		b := &window[round&7]
		if round >= 8 {
			if err := l.freeForward(b[:32]); err != nil {
				return err
			}
		}
		if err := l.allocBatch(b[:], uint64(l.sizes[round&sizeMask])); err != nil {
			return err
		}
		if err := l.freeBackward(b[32:]); err != nil {
			return err
		}
		n += 64
	}
	l.end(n)
	for i := range min(n/64, 8) {
		if err := l.freeForward(window[i][:32]); err != nil {
			return err
		}
	}
	return nil
}

func (l *cacheLoops) allocBatch(b []unsafe.Pointer, size uint64) error {
	for i := range b {
		p, err := l.src.Alloc(size)
		if err != nil {
			return err
		}
		*(*uint64)(p) = size
		b[i] = p
	}
	return nil
}

func (l *cacheLoops) scratch() error {
	if err := l.handFirst(); err != nil {
		return err
	}
	l.begin() // what was handed is seen from here on
	if err := l.freeOffset(l.board.handed[l.worker].Load()); err != nil {
		return err
	}
	n := uint64(0)
	for !l.over() {
		for end := n + batch/16; n < end; n++ {
			p, err := l.src.Alloc(16)
			if err != nil {
				return err
			}
			w := (*uint64)(p)
			*w = n
			for range 100 {
				*w++
			}
			if err := l.src.Free(p); err != nil {
				return err
			}
		}
	}
	l.end(n)
	return nil
}

// handFirst makes, in one worker, a block for each of them: neighbours, in all likelihood.
func (l *cacheLoops) handFirst() error {
	for i := range l.board.workers {
		if l.worker != 0 {
			break
		}
		p, err := l.put(i)
		if err != nil {
			return err
		}
		l.board.handed[i].StoreRelease(l.offset(p))
	}
	return nil
}

func (l *cacheLoops) larson() error {
	held := 2 * l.worker
	for _, c := range []uint64{held, held + 1} {
		if err := l.fillChunk(l.board.chunk(c)); err != nil {
			return err
		}
	}
	l.outbox.tryPut(held + 1)
	l.begin()
	n := uint64(0)
	for ok := true; ok && !l.over(); n += chunkCount {
		if err := l.replaceIn(l.board.chunk(held), n); err != nil {
			return err
		}
		l.outbox.tryPut(held) // there is room for all chunks
		held, ok = l.await()
	}
	l.end(n)
	l.stop()
	for c := range 2 * l.board.workers {
		if l.worker != 0 {
			break
		}
		if err := l.freeWords(l.board.chunk(c)); err != nil {
			return err
		}
	}
	return nil
}

func (l *cacheLoops) fillChunk(chunk []mem.Word) error {
	for i := range chunk {
		p, err := l.put(uint64(i))
		if err != nil {
			return err
		}
		chunk[i].Set(l.offset(p))
	}
	return nil
}

func (l *cacheLoops) replaceIn(chunk []mem.Word, n uint64) error {
	for end := n + chunkCount; n < end; n++ {
		w := &chunk[l.random()>>20%chunkCount]
		if err := l.freeOffset(w.Peek()); err != nil {
			return err
		}
		p, err := l.put(n)
		if err != nil {
			return err
		}
		w.Set(l.offset(p))
	}
	return nil
}

func (l *cacheLoops) freeWords(words []mem.Word) error {
	for i := range words {
		if off := words[i].Swap(0); off != 0 {
			if err := l.freeOffset(off); err != nil {
				return err
			}
		}
	}
	return nil
}

// await takes from the inbox, unless the time is over first.
func (l *cacheLoops) await() (v uint64, ok bool) {
	for {
		if v, ok = l.inbox.tryTake(); ok || l.idle() {
			return v, ok
		}
	}
}

func (l *cacheLoops) pipe() error {
	if l.worker == 0 {
		return l.pipeIn()
	}
	l.begin()
	n := uint64(0)
	for !l.over() {
		for end := n + batch; n < end; n++ {
			off, ok := l.await()
			if !ok {
				break
			}
			if err := l.freeOffset(off); err != nil {
				return err
			}
		}
	}
	l.end(n)
	l.stop()
	return l.emptyInbox()
}

func (l *cacheLoops) pipeIn() error {
	l.begin()
	sent := true
	for n := uint64(0); sent && !l.over(); {
		for end := n + batch; sent && n < end; n++ {
			p, err := l.put(n)
			if err != nil {
				return err
			}
			if sent = l.send(p); !sent {
				err = l.src.Free(p)
			}
			if err != nil {
				return err
			}
		}
	}
	l.end(0)
	l.stop()
	return nil
}

// send hands a block to the next worker, unless the time is over first.
func (l *cacheLoops) send(p unsafe.Pointer) bool {
	for off := l.offset(p); !l.outbox.tryPut(off); {
		if l.idle() {
			return false
		}
	}
	return true
}

// handover is pipe with blocks that come from nowhere and go nowhere.
func (l *cacheLoops) handover() error {
	if l.worker == 0 {
		return l.handoverIn()
	}
	l.begin()
	n := uint64(0)
	for ok := true; ok && !l.over(); {
		for end := n + batch; ok && n < end; n++ {
			if _, ok = l.await(); !ok {
				break
			}
		}
	}
	l.end(n)
	l.stop()
	return nil
}

func (l *cacheLoops) handoverIn() error {
	var blocks [512]unsafe.Pointer
	if err := l.fillWith(blocks[:]); err != nil {
		return err
	}
	l.begin()
	sent := true
	for n := uint64(0); sent && !l.over(); {
		for end := n + batch; sent && n < end; n++ {
			p := blocks[n&(uint64(len(blocks))-1)]
			*(*uint64)(p) = n
			sent = l.send(p)
		}
	}
	l.end(0)
	l.stop()
	return l.freeForward(blocks[:])
}

func (l *cacheLoops) emptyInbox() error {
	for {
		if freed, err := l.freeTaken(batch); freed == 0 || err != nil {
			return err
		}
	}
}

func (l *cacheLoops) xmalloc() error {
	var made [120]unsafe.Pointer
	l.begin()
	n := uint64(0)
	for !l.over() {
		if err := l.fillWith(made[:]); err != nil {
			return err
		}
		freed, err := l.exchange(made[:])
		if err != nil {
			return err
		}
		n += freed
	}
	l.end(n)
	l.stop()
	return l.emptyInbox()
}

// exchange hands the blocks over, and frees as many of the inbox, and more while the other's is full. What
// it cannot hand over in time it frees.
func (l *cacheLoops) exchange(made []unsafe.Pointer) (freed uint64, err error) {
	for i, p := range made {
		for !l.outbox.tryPut(l.offset(p)) {
			n, err := l.freeTaken(1)
			if err != nil {
				return freed, err
			}
			if freed += n; n == 0 && l.idle() {
				return freed, l.freeForward(made[i:])
			}
		}
	}
	n, err := l.freeTaken(len(made))
	return freed + n, err
}

// freeTaken frees at most so many blocks of the inbox.
func (l *cacheLoops) freeTaken(limit int) (freed uint64, err error) {
	for range limit {
		off, ok := l.inbox.tryTake()
		if !ok {
			return freed, nil
		}
		if err := l.freeOffset(off); err != nil {
			return freed, err
		}
		freed++
	}
	return freed, nil
}

func (l *cacheLoops) mstress() error {
	var live [1000]unsafe.Pointer
	if err := l.fillWith(live[:]); err != nil {
		return err
	}
	l.begin()
	n := uint64(0)
	for !l.over() {
		for end := n + batch; n < end; n++ {
			x := l.random()
			k := x >> 20 % uint64(len(live))
			if err := l.giveUp(live[k], x); err != nil {
				return err
			}
			p, err := l.put(n)
			if err != nil {
				return err
			}
			live[k] = p
		}
	}
	l.end(n)
	l.stop()
	if err := l.freeWords(l.board.slots); err != nil {
		return err
	}
	return l.freeForward(live[:])
}

// giveUp frees the block, or, one time in eight, the one that it puts this block in the place of.
func (l *cacheLoops) giveUp(p unsafe.Pointer, x uint64) error {
	if x>>60&7 != 0 {
		return l.src.Free(p)
	}
	if off := l.board.slots[x>>32&(slotCount-1)].Swap(l.offset(p)); off != 0 {
		return l.freeOffset(off)
	}
	return nil
}
