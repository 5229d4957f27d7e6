//go:build !linux

package vec

import (
	"testing"
	"unsafe"
)

func guarded(_ testing.TB, n int) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]float64, n/8+1)))
}
