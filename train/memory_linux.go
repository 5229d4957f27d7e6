package train

import (
	"bytes"
	"os"
	"strconv"
)

// PeakMemory is the largest resident set of this process so far, and how that was
// found out.
func PeakMemory() (size int64, source string) { return status("VmHWM") }

// ResidentMemory is the resident set of this process now, and how that was found out.
func ResidentMemory() (size int64, source string) { return status("VmRSS") }

// status reads a size of /proc/self/status.
func status(key string) (size int64, source string) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return runtimeMemory()
	}
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(key+":"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) != 2 || string(fields[1]) != "kB" {
			break
		}
		if kb, err := strconv.ParseInt(string(fields[0]), 10, 64); err == nil {
			return kb << 10, key + " of /proc/self/status"
		}
	}
	return runtimeMemory()
}
