package data

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// allocated is the number of bytes that f allocates, whether or not they are still
// in use after it: an upper bound of the memory that it takes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// peakHeap is by how many bytes the heap in use grows while f runs, as seen every
// millisecond. The heap is collected often, so that little of it is garbage.
func peakHeap(t testing.TB, f func()) uint64 {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var m runtime.MemStats
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapAlloc))
			}
		}
	}()
	f()
	close(stop)
	<-done
	return max(peak.Load(), before) - before
}
