//go:build !nogpu && ((linux && !android) || darwin) && (amd64 || arm64)

package dl

import (
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// open leaves a library's symbols local to it, so that two libraries that export the same
// names do not call each other's functions.
func open(name string) (uintptr, error) {
	return purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func lookup(handle uintptr, name string) (uintptr, error) {
	return purego.Dlsym(handle, name)
}

// origin is the file that a name was found at. The name is all there is to say where the
// loader cannot be asked.
func origin(handle uintptr, name string) string {
	if runtime.GOOS != "linux" || filepath.IsAbs(name) {
		return name
	}
	dlinfo, err := purego.Dlsym(purego.RTLD_DEFAULT, "dlinfo")
	if err != nil {
		return name
	}
	const linkMap = 2 // RTLD_DI_LINKMAP
	var m *struct{ addr, name uintptr }
	r, _, _ := purego.SyscallN(dlinfo, handle, linkMap, uintptr(unsafe.Pointer(&m)))
	if int32(r) != 0 || m == nil {
		return name
	}
	if path := String(m.name); path != "" {
		return path
	}
	return name
}
