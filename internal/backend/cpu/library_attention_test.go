package cpu

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// What attention computes is compared with PyTorch's numbers and with float64 where
// the composites are defined, in the root package. Here it is the routines' own
// promises: the same bits and the same memory at any number of workers, wherever
// the operands lie and whether all results are read or not.
func TestAttentionBits(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for i, c := range []struct {
		b, h, t, s, d, e int
		causal, masked   bool
	}{
		{1, 1, 1, 1, 1, 1, false, false},
		{2, 3, 70, 70, 16, 16, true, false},
		{1, 1, 200, 200, 8, 8, true, true},
		{1, 2, 130, 600, 5, 12, false, true},
		{1, 1, 150, 40, 33, 33, true, false},
		{1, 5, 100, 300, 32, 32, true, false},
		{1, 1, 20, 20, 1500, 1500, false, false}, // more than a worker's tile holds
	} {
		for _, dt := range []dtype.DType{dtype.Float32, dtype.Float64, dtype.BFloat16} {
			if dt != dtype.Float32 && i > 2 {
				continue
			}
			name := fmt.Sprintf("%v %+v", dt, c)
			q, k, v := random(r, dt, c.b, c.h, c.t, c.d), random(r, dt, c.b, c.h, c.s, c.d), random(r, dt, c.b, c.h, c.s, c.e)
			wide := dtype.Float32
			if dt == dtype.Float64 {
				wide = dt
			}
			in := []tensor{q, k, v}
			if c.masked {
				in = append(in, random(r, wide, c.b, 1, c.t, c.s))
			}
			a := ir.Attention{Scale: 0.25, Causal: c.causal}
			forward := ir.Region{Name: "attention", Attr: a, Strided: true}
			backward := ir.Region{Name: "attention_grad", Attr: a, Strided: true}
			y, lse := newTensor(dt, c.b, c.t, c.h, c.e), newTensor(wide, c.b, c.h, c.t)
			first := sameAtAnyNumberOfWorkers(t, name, forward, in, nil, y, lse)
			copy(y.v, decode(dt, y.shape, first[0]).v)
			copy(lse.v, decode(wide, lse.shape, first[1]).v)

			in = append(in, y, lse, random(r, dt, c.b, c.t, c.h, c.e))
			dq, dk, dv := newTensor(dt, c.b, c.t, c.h, c.d), newTensor(dt, c.b, c.s, c.h, c.d), newTensor(dt, c.b, c.s, c.h, c.e)
			grads := sameAtAnyNumberOfWorkers(t, name+", gradient", backward, in, nil, dq, dk, dv)
			unread := i % 3
			some := sameAtAnyNumberOfWorkers(t, name+", gradient", backward, in, []int{unread}, dq, dk, dv)
			for i := range grads {
				if i != unread && !bytes.Equal(some[i], grads[i]) {
					t.Errorf("%s: gradient %d has other bits if %d is not read", name, i, unread)
				}
			}
			if c.t != c.s || c.d != c.e {
				continue
			}
			// All three gradients in one.
			width := c.h * c.d
			packed := newTensor(dt, c.b, c.t, 3*width)
			all := decode(dt, packed.shape, sameAtAnyNumberOfWorkers(t, name+", gradient", backward, in, nil, packed)[0])
			for i := range 3 {
				apart := decode(dt, dq.shape, grads[i])
				for j := range apart.v {
					if got := all.v[j/width*3*width+i*width+j%width]; got != apart.v[j] {
						t.Fatalf("%s: element %d of gradient %d is %g apart and %g with the others", name, j, i, apart.v[j], got)
					}
				}
			}
		}
	}
}

// sameAtAnyNumberOfWorkers runs a composite on operands that lie one after the other
// and on some with their axes turned round, and wants the same bits from all.
func sameAtAnyNumberOfWorkers(t *testing.T, name string, region ir.Region, in []tensor, unread []int, out ...tensor) [][]byte {
	t.Helper()
	var first [][]byte
	arena := -1
	for _, workers := range []int{1, 2, 3, 8} {
		for _, turned := range []bool{false, true} {
			p := pool.New(workers)
			d := newDevice(p)
			l := &kernel.Library{Op: ir.Composite, Attr: &region}
			given := in
			if turned {
				given = nil
				for i, x := range in {
					o := kernel.Operand{Slot: i, DType: x.dtype, Shape: x.shape, Stride: contiguous(x.shape)}
					if len(x.shape) == 4 {
						x, o.Stride = exchange(x)
					}
					given = append(given, x)
					l.In = append(l.In, o)
				}
			}
			program := single(d, l, given, out)
			for _, i := range unread {
				l.Out[i].Slot = -1
			}
			// The results that are not read lie in the workspace.
			program.Arena += d.Workspace(l) - program.Slots[l.Scratch].Bytes
			program.Slots[l.Scratch].Bytes = d.Workspace(l)
			if !turned && arena >= 0 && program.Arena != arena {
				t.Fatalf("%s needs %d bytes with %d workers, %d with one", name, program.Arena, workers, arena)
			}
			if !turned {
				arena = program.Arena
			}
			got := execute(t, d, program, given, out)
			for i := range first {
				if !bytes.Equal(first[i], got[i]) {
					t.Fatalf("%s: result %d has other bits with %d workers, operands turned: %v", name, i, workers, turned)
				}
			}
			first = got
			p.Close()
		}
	}
	return first
}

// exchange is x with its second and third axes exchanged in memory, and the strides
// by which it is still x.
func exchange(x tensor) (y tensor, stride []int) {
	s := x.shape
	y = newTensor(x.dtype, s[0], s[2], s[1], s[3])
	for i := range x.v {
		d, c, b, a := i%s[3], i/s[3]%s[2], i/s[3]/s[2]%s[1], i/s[3]/s[2]/s[1]
		y.v[((a*s[2]+c)*s[1]+b)*s[3]+d] = x.v[i]
	}
	st := contiguous(y.shape)
	return y, []int{st[0], st[2], st[1], st[3]}
}
