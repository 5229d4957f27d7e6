package opencl

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/clblast"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// CLBlast's matrix products are taken where the library is there and they are faster than
// our own kernels: of every shape both are run, once, and what comes out is kept on disk
// with the compiled kernels. SINTER_CLBLAST says otherwise: off, or on for all products
// that it can do. On processors it is off unless asked for: see docs/opencl.md.

const blasVariable = "SINTER_CLBLAST"

// libraries is what is found on this system.
var libraries = sync.OnceValue(func() *find.Libraries { return find.Search(find.Want{}) })

// blas is the library, if it is there.
var blas = sync.OnceValues(func() (*clblast.API, error) {
	lib, err := libraries().Open(find.CLBlast)
	if err != nil {
		return nil, err
	}
	return clblast.New(lib)
})

// choices are the shapes of products that have been decided.
type choices struct {
	mu    sync.Mutex
	taken map[string]bool
}

// leastWork is the number of multiplications from which a product is worth measuring.
const leastWork = 1 << 22

// own finds the routine for an operation that is not to be computed by our own kernels.
func (d *Device) own(l *kernel.Library) (gpu.Routine, error) {
	mode := os.Getenv(blasVariable)
	switch mode {
	case "on", "off":
	case "":
		if d.target.Serial {
			return nil, nil
		}
	default:
		return nil, fmt.Errorf("%s is %q, and can be on or off", blasVariable, mode)
	}
	r := newProduct(l)
	if r == nil || mode == "off" {
		return nil, nil
	}
	api, err := blas()
	if err != nil {
		if mode == "on" {
			return nil, fmt.Errorf("%s is on: %w", blasVariable, err)
		}
		return nil, nil
	}
	r.api = api
	if mode != "on" && !d.faster(l, r) {
		return nil, nil
	}
	return r, nil
}

// product is a matrix product by CLBlast.
type product struct {
	api    *clblast.API
	double bool
	form   clblast.Product // without buffers and offsets
	args   []codegen.Arg
}

func (p *product) Args() []codegen.Arg { return p.args }
func (p *product) Epilogue() bool      { return false }
func (p *product) Close()              {}

// longest is the most products that CLBlast may add up for an element. It adds them one
// after the other, which of 5000 positive numbers leaves 31 units in the last place of
// error; our kernels add up parts, and stay below 16.
const longest = 1024

// newProduct is nil for what CLBlast has no function for: it wants matrices of one type
// whose rows or columns are contiguous, and batches that are one number apart.
func newProduct(l *kernel.Library) *product {
	if l.Op != ir.DotGeneral {
		return nil
	}
	a, b, c := &l.In[0], &l.In[1], &l.Out[0]
	if t := c.DType; a.DType != t || b.DType != t || t != dtype.Float32 && t != dtype.Float64 || c.Elements() == 0 || a.Elements() == 0 {
		return nil
	}
	n := len(c.Shape)
	if a.Shape[n-1] > longest {
		return nil
	}
	p := &product{double: c.DType == dtype.Float64}
	p.form = clblast.Product{M: c.Shape[n-2], N: c.Shape[n-1], K: a.Shape[n-1], Alpha: 1, Batch: 1}
	for _, e := range c.Shape[:n-2] {
		p.form.Batch *= e
	}
	var ok [3]bool
	p.form.A, p.form.TransA, ok[0] = matrix(a)
	p.form.B, p.form.TransB, ok[1] = matrix(b)
	var turned bool
	p.form.C, turned, ok[2] = matrix(c)
	if !ok[0] || !ok[1] || !ok[2] || turned {
		return nil
	}
	for _, o := range []*kernel.Operand{a, b, c} {
		p.args = append(p.args, codegen.At(o.Slot, o.Offset*o.DType.Size()))
	}
	return p
}

// matrix is how the matrices of an operand lie in memory.
func matrix(o *kernel.Operand) (m clblast.Matrix, transposed, ok bool) {
	n := len(o.Shape)
	rows, cols, rs, cs := o.Shape[n-2], o.Shape[n-1], o.Stride[n-2], o.Stride[n-1]
	switch {
	case (cs == 1 || cols == 1) && (rs >= cols || rows == 1):
		m.LD = max(rs, cols)
		if rows == 1 {
			m.LD = cols
		}
	case (rs == 1 || rows == 1) && (cs >= rows || cols == 1):
		m.LD, transposed = max(cs, rows), true
		if cols == 1 {
			m.LD = rows
		}
	default:
		return m, false, false
	}
	// The axes of the batch have to be one axis.
	stride, extent := 0, 1
	for i := n - 3; i >= 0; i-- {
		switch {
		case o.Shape[i] == 1:
			continue
		case extent == 1:
			stride = o.Stride[i]
		case o.Stride[i] != stride*extent:
			return m, false, false
		}
		extent *= o.Shape[i]
	}
	m.Stride = stride
	return m, transposed, stride >= 0
}

// enqueue puts the product into a queue, its operands at so many bytes of buffers.
func (p *product) enqueue(q opencl.Queue, at [3]span, event *opencl.Event) error {
	form, size := p.form, 4
	if p.double {
		size = 8
	}
	for i, m := range []*clblast.Matrix{&form.A, &form.B, &form.C} {
		m.Mem, m.Offset = at[i].mem, at[i].offset/size
	}
	if p.double {
		return p.api.Dgemm(q, &form, event)
	}
	return p.api.Sgemm(q, &form, event)
}

// span is a place in a buffer.
type span struct {
	mem    opencl.Mem
	offset int
}

// faster tells whether CLBlast computes a product faster than our kernels do, and to the
// same bits every time. What cannot be measured is not faster.
func (d *Device) faster(l *kernel.Library, r *product) bool {
	f := &r.form
	if f.M*f.N*f.K*f.Batch < leastWork {
		return false
	}
	key := fmt.Sprintf("product by CLBlast\n%s\n%s\n%+v %v", d.builds.key, r.api.Path(), *f, r.double)
	d.choices.mu.Lock()
	defer d.choices.mu.Unlock()
	taken, ok := d.choices.taken[key]
	if ok {
		return taken
	}
	if kept, ok := d.builds.store.Get(key); ok && len(kept) == 1 {
		taken = kept[0] == 1
	} else {
		taken = d.measure(l, r)
		d.builds.store.Put(key, []byte{byte(truth(taken))})
	}
	if d.choices.taken == nil {
		d.choices.taken = make(map[string]bool)
	}
	d.choices.taken[key] = taken
	return taken
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// measure runs a product both ways.
func (d *Device) measure(l *kernel.Library, r *product) bool {
	c := *l
	c.In, c.Out, c.Epilogue, c.Scratch = append([]kernel.Operand(nil), l.In...), append([]kernel.Operand(nil), l.Out...), nil, -1
	p := &kernel.Program{Leaves: 2, Outputs: 1}
	var leaves, outputs []device.Buffer
	defer func() {
		for _, b := range append(leaves, outputs...) {
			b.Free()
		}
	}()
	for i := range 3 {
		o, kind := &c.Out[0], kernel.Output
		if i < 2 {
			o, kind = &c.In[i], kernel.Leaf
		}
		last := 0
		for j, e := range o.Shape {
			last += (e - 1) * max(0, o.Stride[j])
		}
		size := o.DType.Size()
		data := make([]byte, (last+1)*size)
		if i < 2 { // numbers between −1 and 1 that no order of additions leaves as they are
			for j := range last + 1 {
				v := float64((j*7919+i*104729)%20011)/10005.5 - 1
				if size == 8 {
					binary.LittleEndian.PutUint64(data[8*j:], math.Float64bits(v))
				} else {
					binary.LittleEndian.PutUint32(data[4*j:], math.Float32bits(float32(v)))
				}
			}
		}
		o.Slot, o.Offset = i, 0
		index := i % 2
		p.Slots = append(p.Slots, kernel.Slot{Kind: kind, Index: index, Bytes: len(data)})
		b, err := d.Alloc(len(data))
		if err != nil {
			return false
		}
		if kind == kernel.Leaf {
			leaves = append(leaves, b)
		} else {
			outputs = append(outputs, b)
		}
		if d.Upload(b, data) != nil {
			return false
		}
	}
	if n := d.Workspace(&c); n > 0 {
		c.Scratch = 3
		p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: n})
		p.Arena = n
	}
	p.Steps = []kernel.Step{&c}
	theirs := *r
	theirs.args = []codegen.Arg{codegen.At(0, 0), codegen.At(1, 0), codegen.At(2, 0)}
	ways := [2]gpu.Routines{nil, func(*kernel.Library) (gpu.Routine, error) { return &theirs, nil }}
	var best [2]time.Duration
	for i, own := range ways {
		e, err := d.compileWith(p, own)
		if err != nil {
			return false
		}
		var first []byte
		for run := range 5 {
			begin := time.Now()
			if e.Run(leaves, outputs) != nil || d.Wait() != nil {
				e.Close()
				return false
			}
			if took := time.Since(begin); run == 1 || run > 1 && took < best[i] { // the first compiles
				best[i] = took
			}
			got := make([]byte, outputs[0].Bytes())
			if d.Download(got, outputs[0]) != nil || first != nil && !bytes.Equal(first, got) {
				e.Close()
				return false
			}
			first = got
		}
		e.Close()
	}
	return best[1] < best[0]
}
