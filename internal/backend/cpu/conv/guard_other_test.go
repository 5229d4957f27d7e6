//go:build !linux

package conv

import (
	"testing"
	"unsafe"
)

// guarded is plain memory where pages cannot be protected as simply.
func guarded(_ testing.TB, n int, _ bool) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]uint64, n/8+1)))
}
