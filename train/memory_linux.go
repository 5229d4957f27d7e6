package train

import (
	"bytes"
	"os"
	"strconv"
)

// PeakMemory is the largest resident set of this process so far, and how that was
// found out.
func PeakMemory() (size int64, source string) {
	const hwm = "VmHWM of /proc/self/status"
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return runtimeMemory()
	}
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) != 2 || string(fields[1]) != "kB" {
			break
		}
		if kb, err := strconv.ParseInt(string(fields[0]), 10, 64); err == nil {
			return kb << 10, hwm
		}
	}
	return runtimeMemory()
}
