// Package pool runs the chunks of a kernel on several processors.
//
// It stands between the CPU backend's kernels and Go's scheduler. Readying a
// goroutine and having an idle processor steal it takes Linux some 50 µs, longer
// than most kernels last; so the pool keeps its goroutines, which first spin for a
// short while on a counter and only then park (in a futex where there is one). The
// caller is itself worker 0 and chunks are claimed from atomic counters, so
// helpers that come late, or not at all because other processes hold the
// processors, cost nothing but the help they would have been.
//
// Every worker has a share of the chunks, which are neighbours, and takes from those of
// others when its own is done. So from kernel to kernel a worker mostly meets the part of
// the memory that it wrote itself, which lies in its own cache.
//
// How many workers there are at most is settled when a pool is made; how many take
// part can be changed at any time (SetThreads). Their goroutines start when they are
// first needed.
//
// Which worker runs which chunk is not determined. Kernels whose results must not
// depend on the number of workers cut their work by shapes alone and use the
// worker's number only to find scratch memory.
package pool

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
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

	// The current job. The fields before the pad are written while open is 0 and
	// active is 0 and are read only between joining and leaving.
	f      func(worker, chunk int)
	shares int     // how many of share count
	share  []share // by worker
	_      pad
	open   atomic.Uint64 // number of the job that can be joined, 0 if none
	wanted atomic.Int32  // helpers that may join it: those of the first numbers
	_      pad
	active atomic.Int64 // helpers that have joined
	_      pad

	jobs    uint64 // number of the last job
	helpers []*helper
	started int          // helpers that run
	threads atomic.Int32 // workers that take part, with the caller
	closed  atomic.Bool
	trace   atomic.Pointer[func(worker int, begin, end time.Time)]
	failure atomic.Pointer[failure]
}

// share is the chunks that a worker takes first.
type share struct {
	next atomic.Int64 // the first that nobody has claimed
	end  int64
	_    pad
}

// failure is what a chunk panicked with.
type failure struct{ value any }

// helper is a worker other than the caller.
type helper struct {
	parker
	_ pad
}

// A helper spins for up to maxSpin before it parks, which the short gaps inside a step
// do not exceed, so that they cost no system call. Where jobs come further apart, it
// spins less each time, down to minSpin, so that an idle program is idle. A helper that
// lost its processor while it spun, for longer than preempted, was in the way of
// another process: it falls back to minSpin for the next distrust jobs.
const (
	minSpin   = 5 * time.Microsecond
	maxSpin   = 300 * time.Microsecond
	preempted = 100 * time.Microsecond
	distrust  = 16
)

// New makes a pool of n workers, one of which is the caller of Run.
func New(n int) *Pool {
	p := &Pool{share: make([]share, max(n, 1))}
	for i := 1; i < n; i++ {
		h := new(helper)
		h.init()
		p.helpers = append(p.helpers, h)
	}
	p.threads.Store(int32(max(n, 1)))
	return p
}

// Variable is the environment variable that sets the number of workers of Default.
const Variable = "SINTER_THREADS"

// Default is the pool of the whole process, with a worker for every processor. As
// many take part as the environment variable says, or else GOMAXPROCS as of its
// first use.
var Default = sync.OnceValue(func() *Pool {
	procs := runtime.GOMAXPROCS(0)
	p := New(max(procs, runtime.NumCPU()))
	p.SetThreads(procs)
	if v := os.Getenv(Variable); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "sinter: %s=%q is not a positive number; %d threads are used\n", Variable, v, p.Threads())
		} else {
			p.SetThreads(n)
		}
	}
	return p
})

// SetThreads sets how many workers take part in later Runs: from 1, which is the
// caller alone, to Workers or GOMAXPROCS, whichever is less, for more could not run
// at a time. Other numbers are brought into that range. No result changes.
func (p *Pool) SetThreads(n int) {
	p.threads.Store(int32(max(1, min(n, p.Workers(), runtime.GOMAXPROCS(0)))))
}

// Threads is how many workers take part.
func (p *Pool) Threads() int { return int(p.threads.Load()) }

// Workers is the largest number of workers; Run calls with worker numbers below it.
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
	others := min(chunks, p.Threads()) - 1
	if others <= 0 || !p.mu.TryLock() {
		for c := range chunks {
			f(0, c)
		}
		return
	}
	for ; p.started < others; p.started++ {
		go p.help(p.helpers[p.started], p.started+1)
	}
	p.f, p.shares = f, others+1
	for i := range p.share[:p.shares] {
		p.share[i].next.Store(int64(i * chunks / p.shares))
		p.share[i].end = int64((i + 1) * chunks / p.shares)
	}
	p.jobs++
	p.wanted.Store(int32(others))
	p.open.Store(p.jobs)
	for _, h := range p.helpers[:others] {
		h.unpark()
	}
	defer p.finish()
	p.work(0)
}

// Trace has f called by every worker after its part in a job, until stop is called.
func (p *Pool) Trace(f func(worker int, begin, end time.Time)) (stop func()) {
	p.trace.Store(&f)
	return func() { p.trace.Store(nil) }
}

// finish ends the job. Closing before looking at active is one half of a
// handshake of which the other is in join: either a helper sees that the job is
// closed, or the caller sees the helper.
func (p *Pool) finish() {
	p.open.Store(0)
	p.drop() // where the caller's own chunk panicked, some are left
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

// drop claims all chunks.
func (p *Pool) drop() {
	for i := range p.share[:p.shares] {
		p.share[i].next.Store(p.share[i].end)
	}
}

// work claims and runs chunks until none is left.
func (p *Pool) work(id int) {
	if t := p.trace.Load(); t != nil {
		begin := time.Now()
		defer func() { (*t)(id, begin, time.Now()) }()
	}
	for i := range p.shares {
		s := &p.share[(id+i)%p.shares]
		for {
			c := s.next.Add(1) - 1
			if c >= s.end {
				break
			}
			p.f(id, int(c))
		}
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
			p.drop()
		}
	}()
	p.work(id)
}

// help is the life of a helper.
func (p *Pool) help(h *helper, id int) {
	seen := uint64(0) // the last job that was joined
	news := func() bool {
		o := p.open.Load()
		return o != 0 && o != seen && (id <= int(p.wanted.Load()) || p.closed.Load())
	}
	spin, wary := maxSpin, 0
	for !p.closed.Load() {
		start := time.Now()
		last := start
		for i := 1; !news(); i++ {
			pause(2)
			if i%64 != 0 {
				continue
			}
			now := time.Now()
			if now.Sub(last) > preempted {
				spin, wary = minSpin, distrust
			}
			last = now
			if now.Sub(start) > spin {
				h.park(news)
				break // a job has come, though it may be over by now
			}
		}
		switch wait := time.Since(start); {
		case wary > 0:
			wary--
		case wait <= maxSpin: // spinning that long pays, or would have
			spin = min(max(spin, 2*wait), maxSpin)
		default:
			spin = max(spin/2, minSpin)
		}
		if news() {
			seen = p.open.Load()
			p.join(id)
		}
	}
}
