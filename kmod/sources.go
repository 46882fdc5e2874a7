package kmod

import (
	"embed"
	"io/fs"
)

// sources are what the module is built from.
//
//go:embed Kbuild Makefile dkms.conf *.c *.h include uapi
var sources embed.FS

// Sources returns the sources of the module, for who builds it: make -C BUILD M=DIR modules, where BUILD is the build
// directory of a kernel, such as /lib/modules/RELEASE/build, and DIR a copy of them.
func Sources() fs.FS { return sources }
