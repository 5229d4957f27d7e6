//go:build !linux && !darwin

package train

// PeakMemory estimates the memory of this process, and says so.
func PeakMemory() (size int64, source string) { return runtimeMemory() }
