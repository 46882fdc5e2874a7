package sys

// From xnu's bsd/sys/fcntl.h; x/sys does not have them.
const (
	ofdSetLock = 90 // F_OFD_SETLK
	ofdGetLock = 92 // F_OFD_GETLK
)
