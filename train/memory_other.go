//go:build !linux && !darwin

package train

// PeakMemory estimates the memory of this process, and says so.
func PeakMemory() (size int64, source string) { return runtimeMemory() }

// ResidentMemory is what this process holds now, as far as that can be told.
func ResidentMemory() (size int64, source string) { return runtimeMemory() }
