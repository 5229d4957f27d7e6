//go:build !amd64

package ir

import "runtime"

// callers writes the return addresses of the functions that are running, from the
// caller of its caller upward, and returns their number.
func callers(pcs *[8]uintptr) int { return runtime.Callers(3, pcs[:]) }
