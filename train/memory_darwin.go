package train

import "syscall"

// PeakMemory is the largest resident set of this process so far, and how that was
// found out.
func PeakMemory() (size int64, source string) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return runtimeMemory()
	}
	return int64(usage.Maxrss), "getrusage" // in bytes on this system
}

// ResidentMemory is what this process holds now, as far as that can be told.
func ResidentMemory() (size int64, source string) { return runtimeMemory() }
