package mem

// deviceBarrier orders all accesses before it, to devices too, before all behind it: DMB SY. The lock of
// a register is in normal memory and the register is not, so the lock's own order is not enough.
//
//go:noescape
func deviceBarrier()
