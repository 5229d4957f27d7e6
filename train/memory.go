package train

import "runtime"

// runtimeMemory is for systems that do not tell a process its peak: what the Go
// runtime has asked for, which it seldom gives back.
func runtimeMemory() (size int64, source string) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys), "estimate: memory obtained by the Go runtime"
}
