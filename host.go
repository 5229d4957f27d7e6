package sinter

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// HostBuffer is memory of the host that is filled, evaluated and filled again: what
// a data loader puts its batches in. Programs read it where it lies if the device
// can.
type HostBuffer struct {
	dtype   DType
	shape   []int
	data    []byte
	storage *ir.Storage
}

// NewHostBuffer is a buffer of zeros; its first axis is the rows that
// [HostBuffer.Tensor] takes some of.
func NewHostBuffer(d DType, sh ...int) *HostBuffer {
	ensure("NewHostBuffer", shape.Check(sh))
	if len(sh) == 0 {
		ir.Fail("NewHostBuffer", "wants at least one axis, the rows")
	}
	words := make([]uint64, (shape.Elements(sh)*d.Size()+7)/8) // aligned for every type
	data := rawBytes(words)[:shape.Elements(sh)*d.Size()]
	return &HostBuffer{d, slices.Clone(sh), data, newStorage(&memory{host: data}, "batch")}
}

// Bytes is the buffer's memory, the same for its whole life. It must be written only
// between [HostBuffer.Reuse] and the evaluation of a tensor made after it.
func (b *HostBuffer) Bytes() []byte { return b.data }

// Floats is the memory of a float32 buffer; see [HostBuffer.Bytes].
func (b *HostBuffer) Floats() []float32 {
	b.want("HostBuffer.Floats", Float32)
	return as[float32](b.data)
}

// Int64s is the memory of an int64 buffer; see [HostBuffer.Bytes].
func (b *HostBuffer) Int64s() []int64 {
	b.want("HostBuffer.Int64s", Int64)
	return as[int64](b.data)
}

func (b *HostBuffer) want(op string, d DType) {
	if b.dtype != d {
		ir.Fail(op, "the buffer holds %v", b.dtype)
	}
}

// Tensor is the first n rows of what the buffer holds now.
func (b *HostBuffer) Tensor(n int) *Tensor {
	if n < 0 || n > b.shape[0] {
		ir.Fail("HostBuffer.Tensor", "%d rows of a buffer of %v", n, b.shape)
	}
	sh := slices.Clone(b.shape)
	sh[0] = n
	return &Tensor{ir.NewInput(b.dtype, sh, b.storage)}
}

// View is what the buffer holds now from its beginning on, in another shape of no more
// elements.
func (b *HostBuffer) View(sh ...int) *Tensor {
	ensure("HostBuffer.View", shape.Check(sh))
	if shape.Elements(sh) > shape.Elements(b.shape) {
		ir.Fail("HostBuffer.View", "the shape %v of a buffer of %v", sh, b.shape)
	}
	return &Tensor{ir.NewInput(b.dtype, slices.Clone(sh), b.storage)}
}

// Uploader makes a tensor in the memory of the device in use a piece at a time, so that it
// may be larger than what the host has room for.
type Uploader struct {
	dtype   DType
	shape   []int
	row     int // bytes
	storage *ir.Storage
	host    []byte // on the processor, the memory itself
	on      *engine
	parts   device.Divider
}

// UploadRows is what pieces for an Uploader begin at multiples of.
const UploadRows = 64

// NewUploader is an Uploader of a tensor of this shape; its first axis is the rows that
// pieces are made of.
func NewUploader(d DType, sh ...int) (*Uploader, error) {
	ensure("NewUploader", shape.Check(sh))
	if len(sh) == 0 {
		ir.Fail("NewUploader", "wants at least one axis, the rows")
	}
	e, err := inUse()
	if err != nil {
		return nil, err
	}
	u := &Uploader{dtype: d, shape: slices.Clone(sh), row: shape.Elements(sh[1:]) * d.Size(), on: e}
	size := sh[0] * u.row
	var ok bool
	if u.parts, ok = e.dev.(device.Divider); !ok || e.info.HostMemory {
		u.host = rawBytes(make([]uint64, (size+7)/8))[:size] // aligned for every type
		u.storage = newStorage(&memory{host: u.host}, "data")
		return u, nil
	}
	b, err := e.allocate(size, byInput)
	if err != nil {
		return nil, err
	}
	u.storage = newStorage(&memory{input: true}, "data")
	memoryOf(u.storage).own(u.storage, e, b, byInput)
	return u, nil
}

// Write copies whole rows to the tensor, from row from on, which is a multiple of
// UploadRows.
func (u *Uploader) Write(from int, rows []byte) error {
	if from%UploadRows != 0 || u.row == 0 || len(rows)%u.row != 0 || from+len(rows)/u.row > u.shape[0] {
		ir.Fail("Uploader.Write", "%d bytes from row %d of %v%v", len(rows), from, u.dtype, u.shape)
	}
	if u.host != nil {
		copy(u.host[from*u.row:], rows)
		return nil
	}
	m := memoryOf(u.storage)
	if err := u.on.upload(u.parts.Part(m.buffer, from*u.row, len(rows)), rows); err != nil {
		return fmt.Errorf("sinter: uploading rows from %d on: %w", from, err)
	}
	return nil
}

// Tensor is what has been written.
func (u *Uploader) Tensor() *Tensor {
	return &Tensor{ir.NewInput(u.dtype, u.shape, u.storage)}
}

// Reuse says that the content is about to change: evaluating a tensor made before is
// an error from now on.
func (b *HostBuffer) Reuse() {
	b.storage.Version++
	memoryOf(b.storage).stale = true // a device with memory of its own has to get the new content
}

// Upload begins to copy what the buffer holds to the device in use, if that has memory of
// its own and can copy while programs run; else it does nothing, and the evaluation that
// reads the buffer copies it. It is for whoever fills buffers ahead of the program, and is
// called after the buffer has been filled and before it is handed on.
func (b *HostBuffer) Upload() {
	e := devices.using.Load()
	if e == nil {
		return
	}
	stager, ok := e.dev.(device.Stager)
	if !ok || e.info.HostMemory || len(b.data) <= small {
		return
	}
	m := memoryOf(b.storage)
	if m.on != e {
		buffer, err := e.dev.Alloc(len(b.data))
		if err != nil {
			return // the evaluation makes room, or says what is wrong
		}
		e.pool.Lock()
		e.pool.add(len(b.data), byInput)
		e.pool.Unlock()
		m.own(b.storage, e, buffer, byInput)
		m.stale = true
	}
	if stager.Stage(m.buffer, b.data) == nil {
		e.uploaded.Add(int64(len(b.data)))
		m.stale = false
	}
}
