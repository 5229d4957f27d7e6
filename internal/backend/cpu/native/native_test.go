package native_test

import (
	"bytes"
	"errors"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	. "github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	"github.com/sinter-dl/sinter/internal/backend/cpu/native"
)

func available(t *testing.T) {
	if !native.Available() {
		t.Skip("no machine code can be made here")
	}
}

// record is the argument of the functions below.
type record struct {
	src, dst *int64
	n        int64
}

// adder writes 1 + 2 + … + n to *dst, one addition at a time, plus *src and the
// constants of its pool.
func adder(t *testing.T) []byte {
	a := New()
	a.Args(DI)
	a.I(MOVQ, Mem{Base: DI, Disp: 16}, CX)
	a.I(XORL, AX, AX)
	loop := a.NewLabel()
	a.Bind(loop)
	a.I(ADDQ, CX, AX)
	a.I(DECQ, CX)
	a.I(JNZ, loop)
	a.I(MOVQ, Mem{Base: DI}, SI)
	a.I(ADDQ, Mem{Base: SI}, AX)
	a.I(MOVL, a.Word(1000), DX)
	a.I(ADDQ, DX, AX)
	second := a.Words(1, 2, 3, 4)
	second.Disp += 8
	a.I(MOVL, second, DX)
	a.I(ADDQ, DX, AX)
	a.I(MOVQ, Mem{Base: DI, Disp: 8}, DX)
	a.I(MOVQ, AX, Mem{Base: DX})
	a.Return()
	code, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestCall(t *testing.T) {
	available(t)
	ret := New()
	ret.Return()
	nothing, err := ret.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b, err := native.Map(nothing, adder(t), nothing)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	src, dst := int64(5), int64(0)
	r := record{&src, &dst, 10}
	for i := range 3 {
		native.Call(b.Entry(i), unsafe.Pointer(&r))
	}
	if dst != 55+5+1000+3 {
		t.Errorf("the sum is %d", dst)
	}
}

func TestRefused(t *testing.T) {
	native.Refuse(true)
	defer native.Refuse(false)
	if native.Available() {
		t.Error("available though refused")
	}
	if _, err := native.Map([]byte{0xc3}); !errors.Is(err, native.ErrRefused) {
		t.Errorf("Map returns %v", err)
	}
}

// Native code runs in several goroutines while their stacks grow and move, the
// garbage collector runs all the time and the profiler interrupts.
func TestStress(t *testing.T) {
	available(t)
	b, err := native.Map(adder(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err == nil {
		defer pprof.StopCPUProfile()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(10))

	var done atomic.Bool
	var collector sync.WaitGroup
	collector.Go(func() {
		for !done.Load() {
			runtime.GC()
		}
	})
	calls := 250_000
	if testing.Short() {
		calls = 10_000
	}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for i := range calls {
				n := int64(1)
				if i%1000 == 0 {
					n = 100_000 // long enough to be interrupted
				}
				if !deep(i%200, b.Entry(0), n) {
					t.Error("a wrong sum")
					return
				}
			}
		})
	}
	workers.Wait()
	done.Store(true)
	collector.Wait()
}

// deep calls native code with an argument on the stack, some frames down on a stack
// that is new every so often and so has to grow.
func deep(depth int, entry uintptr, n int64) bool {
	if depth > 0 {
		var pad [40]int64
		pad[depth%40] = n
		return deep(depth-1, entry, n) && pad[depth%40] == n
	}
	src, dst := n, new(int64)
	r := record{&src, dst, n}
	if n > 1 {
		ok := make(chan bool)
		go func() { ok <- deep(150, entry, 1) }()
		native.Call(entry, unsafe.Pointer(&r))
		if !<-ok {
			return false
		}
	} else {
		native.Call(entry, unsafe.Pointer(&r))
	}
	return *dst == n*(n+1)/2+n+1003
}
