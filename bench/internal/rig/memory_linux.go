package rig

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// Resident is the memory of this process that is in RAM, in bytes: now, and the
// most since [ResetPeak] or the start. Both are 0 on systems where it is not
// measured.
func Resident() (now, peak int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(text) {
		name, rest, _ := strings.Cut(string(line), ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			return 0, 0
		}
		if name == "VmRSS" {
			now = kib << 10
		} else {
			peak = kib << 10
		}
	}
	return now, peak
}

// ResetPeak forgets the peak and tells what is resident now. A system that refuses
// it keeps the peak since the start.
func ResetPeak() int64 {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	now, _ := Resident()
	return now
}
