package monitor

import (
	"syscall"
	"unsafe"
)

var getSystemTimes = syscall.NewLazyDLL("kernel32.dll").NewProc("GetSystemTimes")

// nativeBusy asks Windows, whose kernel time has the idle time in it.
func nativeBusy() (float64, error) {
	var idle, kernel, user syscall.Filetime
	if ok, _, err := getSystemTimes.Call(uintptr(unsafe.Pointer(&idle)), uintptr(unsafe.Pointer(&kernel)), uintptr(unsafe.Pointer(&user))); ok == 0 {
		return 0, err
	}
	ticks := func(t syscall.Filetime) float64 { return float64(uint64(t.HighDateTime)<<32 | uint64(t.LowDateTime)) }
	return (ticks(kernel) - ticks(idle) + ticks(user)) / 1e7, nil
}
