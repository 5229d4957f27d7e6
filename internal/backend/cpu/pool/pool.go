// Package pool runs the chunks of a kernel on several processors.
//
// It stands between the CPU backend's kernels and Go's scheduler. Readying a
// goroutine and having an idle processor steal it takes Linux some 50 µs, longer
// than most kernels last; so the pool keeps its goroutines, which first spin for a
// short while on a counter and only then park (in a futex where there is one). The
// caller is itself worker 0 and chunks are claimed from an atomic counter, so
// helpers that come late, or not at all because other processes hold the
// processors, cost nothing but the help they would have been.
//
// Which worker runs which chunk is not determined. Kernels whose results must not
// depend on the number of workers cut their work by shapes alone and use the
// worker's number only to find scratch memory.
package pool

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// pad keeps what different processors write on different cache lines; two lines,
// because neighbouring lines are prefetched in pairs.
type pad [128]byte

// Pool is a set of persistent workers.
type Pool struct {
	mu sync.Mutex // held by the Run that has the helpers

	// The current job. The fields f and chunks are written while open is 0 and
	// active is 0 and are read only between joining and leaving.
	f      func(worker, chunk int)
	chunks int64
	_      pad
	open   atomic.Uint64 // number of the job that can be joined, 0 if none
	_      pad
	next   atomic.Int64 // first chunk that nobody has claimed
	_      pad
	active atomic.Int64 // helpers that have joined
	_      pad

	jobs    uint64 // number of the last job
	helpers []*helper
	closed  atomic.Bool
	failure atomic.Pointer[failure]
}

// failure is what a chunk panicked with.
type failure struct{ value any }

// helper is a worker other than the caller.
type helper struct {
	parker
	_ pad
}

// A helper spins between minSpin and maxSpin before it parks: longer when
// spinning has paid lately, so that the short gaps inside a step cost no system
// call, shorter when it has not, so that an idle program is idle.
const (
	minSpin = 5 * time.Microsecond
	maxSpin = 300 * time.Microsecond
)

// New makes a pool of n workers, one of which is the caller of Run.
func New(n int) *Pool {
	p := new(Pool)
	for i := 1; i < n; i++ {
		h := new(helper)
		h.init()
		p.helpers = append(p.helpers, h)
		go p.help(h, i)
	}
	return p
}

// Default is the pool of the whole process, with GOMAXPROCS workers as of its
// first use.
var Default = sync.OnceValue(func() *Pool { return New(runtime.GOMAXPROCS(0)) })

// Workers is the number of workers; Run calls with worker numbers below it.
func (p *Pool) Workers() int { return len(p.helpers) + 1 }

// Close ends the helpers. Later Runs are done by the caller alone.
func (p *Pool) Close() {
	p.mu.Lock() // for good: no Run gets the helpers any more
	p.closed.Store(true)
	p.open.Store(^uint64(0)) // differs from every job a helper has seen
	for _, h := range p.helpers {
		h.unpark()
	}
}

// Run calls f(worker, chunk) once for every chunk in [0, chunks) and returns when
// all calls have. No two calls at the same time have the same worker number,
// unless Run is called while another Run of the pool goes on, from inside f or
// from another goroutine: then the caller does all its chunks itself, as worker 0.
// If f panics, the chunks that have not begun are dropped and Run panics with the
// same value.
func (p *Pool) Run(chunks int, f func(worker, chunk int)) {
	if chunks <= 1 || len(p.helpers) == 0 || !p.mu.TryLock() {
		for c := range chunks {
			f(0, c)
		}
		return
	}
	p.f, p.chunks = f, int64(chunks)
	p.next.Store(0)
	p.jobs++
	p.open.Store(p.jobs)
	for _, h := range p.helpers[:min(chunks-1, len(p.helpers))] {
		h.unpark()
	}
	defer p.finish()
	p.work(0)
}

// finish ends the job. Closing before looking at active is one half of a
// handshake of which the other is in join: either a helper sees that the job is
// closed, or the caller sees the helper.
func (p *Pool) finish() {
	p.open.Store(0)
	p.next.Store(p.chunks) // where the caller's own chunk panicked, some are left
	for i := 1; p.active.Load() != 0; i++ {
		pause(8)
		if i%256 == 0 {
			runtime.Gosched()
		}
	}
	p.f = nil
	fail := p.failure.Swap(nil)
	p.mu.Unlock()
	if fail != nil {
		panic(fail.value)
	}
}

// work claims and runs chunks until none is left.
func (p *Pool) work(id int) {
	for {
		c := p.next.Add(1) - 1
		if c >= p.chunks {
			return
		}
		p.f(id, int(c))
	}
}

// join is a helper's part in the current job, if there still is one.
func (p *Pool) join(id int) {
	p.active.Add(1)
	defer p.active.Add(-1)
	if p.open.Load() == 0 || p.closed.Load() {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			p.failure.CompareAndSwap(nil, &failure{v})
			p.next.Store(p.chunks)
		}
	}()
	p.work(id)
}

// help is the life of a helper.
func (p *Pool) help(h *helper, id int) {
	seen := uint64(0) // the last job that was joined
	news := func() bool { o := p.open.Load(); return o != 0 && o != seen }
	spin := maxSpin
	for !p.closed.Load() {
		start := time.Now()
		for i := 1; !news(); i++ {
			pause(2)
			if i%64 == 0 && time.Since(start) > spin {
				spin = max(spin/2, minSpin)
				h.park(news)
				start = time.Now()
			}
		}
		if spin < maxSpin && time.Since(start) > minSpin {
			spin = min(2*spin, maxSpin)
		}
		seen = p.open.Load()
		p.join(id)
	}
}
