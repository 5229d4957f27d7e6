package cpu

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// between is memory of n bytes with a page that cannot be touched right behind it,
// and another one not far before it.
func between(t testing.TB, n int) []byte {
	page := syscall.Getpagesize()
	whole := (n + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, whole+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	for _, guard := range [][]byte{mem[:page], mem[page+whole:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return mem[page+whole-n : page+whole]
}

// Fused kernels touch no byte beyond their slots, whatever the extents.
func TestFusedStaysInside(t *testing.T) {
	p := pool.New(1)
	r := rand.New(rand.NewPCG(7, 7))
	for _, rows := range []int{1, 2, 5} {
		for _, cols := range []int{1, 7, 15, 16, 17, 31, 33, 63, 64, 65, 129, 257} {
			for _, c := range []struct {
				f     *kernel.Fused
				sizes []int // of the slots, in floats
			}{
				{adamW(rows * cols), []int{rows * cols, rows * cols, rows * cols, rows * cols, 1}},
				{gelu(rows * cols), []int{rows * cols, rows * cols}},
				{softmax(rows, cols), []int{rows * cols, rows * cols}},
				{layerNorm(rows, cols), []int{rows * cols, rows * cols, cols, cols}},
				{biasReLU(rows, cols), []int{rows * cols, cols}},
				{colSum(rows, cols), []int{rows * cols, cols}},
				{transpose(rows, cols), []int{rows * cols, rows * cols}},
			} {
				var slots []unsafe.Pointer
				for _, n := range c.sizes {
					mem := between(t, 4*n)
					for i := range n {
						*(*float32)(unsafe.Pointer(&mem[4*i])) = float32(r.NormFloat64())
					}
					slots = append(slots, unsafe.Pointer(&mem[0]))
				}
				k, err := compileFused(c.f, nil, p)
				if err != nil {
					t.Fatal(fmt.Errorf("%s of %d×%d: %w", c.f.Name, rows, cols, err))
				}
				k.run(slots)
			}
		}
	}
}
