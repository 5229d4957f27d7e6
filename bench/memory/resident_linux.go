package main

import (
	"bytes"
	"os"
	"strings"
)

// resident is the memory of this process that is in RAM now, in KiB.
func resident() string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			return strings.Fields(string(rest))[0]
		}
	}
	return "unknown"
}
