// Package clblast binds CLBlast's matrix products, for buffers of OpenCL.
//
// The library compiles its kernels when it is first called for a device and a type, which
// takes seconds; FillCache does it ahead. Sgemm and Dgemm allocate, a few hundred bytes in
// a call: their scalars are passed by value, which Func.Call cannot do.
package clblast

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
)

// API is the functions of one CLBlast library.
type API struct {
	path string
	f    functions

	sgemm        gemm[float32]
	dgemm        gemm[float64]
	sgemmBatched batched[float32]
	dgemmBatched batched[float64]
}

type functions struct {
	Sgemm               dl.Func `c:"CLBlastSgemm"`
	Dgemm               dl.Func `c:"CLBlastDgemm"`
	Hgemm               dl.Func `c:"CLBlastHgemm"`
	SgemmStridedBatched dl.Func `c:"CLBlastSgemmStridedBatched"`
	DgemmStridedBatched dl.Func `c:"CLBlastDgemmStridedBatched"`
	HgemmStridedBatched dl.Func `c:"CLBlastHgemmStridedBatched"`
	FillCache           dl.Func `c:"CLBlastFillCache"`
	ClearCache          dl.Func `c:"CLBlastClearCache"`
}

type gemm[F any] func(layout, ta, tb uint32, m, n, k uintptr, alpha F, a, aOffset, aLD, b, bOffset, bLD uintptr, beta F, c, cOffset, cLD uintptr, q, e unsafe.Pointer) int32

type batched[F any] func(layout, ta, tb uint32, m, n, k uintptr, alpha F, a, aOffset, aLD, aStride, b, bOffset, bLD, bStride uintptr, beta F,
	c, cOffset, cLD, cStride, batch uintptr, q, e unsafe.Pointer) int32

// New binds the functions of an open library.
func New(lib dl.Symbols) (*API, error) {
	b := &API{path: lib.Path()}
	if err := dl.Bind(lib, &b.f); err != nil {
		return nil, fmt.Errorf("clblast: %w", err)
	}
	dl.Register(&b.sgemm, b.f.Sgemm)
	dl.Register(&b.dgemm, b.f.Dgemm)
	dl.Register(&b.sgemmBatched, b.f.SgemmStridedBatched)
	dl.Register(&b.dgemmBatched, b.f.DgemmStridedBatched)
	return b, nil
}

// Path is the library's file.
func (b *API) Path() string { return b.path }

// Matrix is a matrix in a buffer, row by row. Offset, LD (how many elements apart rows are)
// and Stride (how many apart the matrices of a batch are) count elements.
type Matrix struct {
	Mem                opencl.Mem
	Offset, LD, Stride int
}

// Product is C = Alpha·op(A)·op(B) + Beta·C, where op(A) is M×K, op(B) is K×N, and op
// transposes or does nothing; a Batch of them if that is more than 1. With Beta 0, what C
// holds before is not read.
type Product struct {
	TransA, TransB bool
	M, N, K        int
	Alpha, Beta    float64
	A, B, C        Matrix
	Batch          int
}

// rowMajor and transposed are CLBlast's constants.
const rowMajor = 101

func transposed(yes bool) uint32 {
	if yes {
		return 112
	}
	return 111
}

// Sgemm puts a product of float32 into a queue. The event is made, for the caller to release,
// if it is not nil.
func (b *API) Sgemm(q opencl.Queue, p *Product, event *opencl.Event) error {
	return run(b, "S", q, p, event, float32(p.Alpha), float32(p.Beta), b.sgemm, b.sgemmBatched)
}

// Dgemm is Sgemm for float64.
func (b *API) Dgemm(q opencl.Queue, p *Product, event *opencl.Event) error {
	return run(b, "D", q, p, event, p.Alpha, p.Beta, b.dgemm, b.dgemmBatched)
}

// run calls one of a type's two functions. The queue is passed by address.
func run[F any](b *API, letter string, q opencl.Queue, p *Product, event *opencl.Event, alpha, beta F, one gemm[F], many batched[F]) error {
	queue, e := unsafe.Pointer(&q), unsafe.Pointer(event)
	ta, tb := transposed(p.TransA), transposed(p.TransB)
	m, n, k := uintptr(p.M), uintptr(p.N), uintptr(p.K)
	if p.Batch <= 1 {
		s := one(rowMajor, ta, tb, m, n, k, alpha, uintptr(p.A.Mem), uintptr(p.A.Offset), uintptr(p.A.LD),
			uintptr(p.B.Mem), uintptr(p.B.Offset), uintptr(p.B.LD), beta, uintptr(p.C.Mem), uintptr(p.C.Offset), uintptr(p.C.LD), queue, e)
		return check(s, "CLBlast"+letter+"gemm", p)
	}
	s := many(rowMajor, ta, tb, m, n, k, alpha, uintptr(p.A.Mem), uintptr(p.A.Offset), uintptr(p.A.LD), uintptr(p.A.Stride),
		uintptr(p.B.Mem), uintptr(p.B.Offset), uintptr(p.B.LD), uintptr(p.B.Stride), beta,
		uintptr(p.C.Mem), uintptr(p.C.Offset), uintptr(p.C.LD), uintptr(p.C.Stride), uintptr(p.Batch), queue, e)
	return check(s, "CLBlast"+letter+"gemmStridedBatched", p)
}

// Hgemm is Sgemm for 16-bit floats, which the device has to compute with. Alpha and beta
// are given as their bits. It does not allocate.
func (b *API) Hgemm(q opencl.Queue, p *Product, alpha, beta uint16, event *opencl.Event) error {
	cell := dl.GetCell()
	cell[0] = uint64(q)
	var s uintptr
	call := "CLBlastHgemm"
	ta, tb := uintptr(transposed(p.TransA)), uintptr(transposed(p.TransB))
	m, n, k := uintptr(p.M), uintptr(p.N), uintptr(p.K)
	if p.Batch <= 1 {
		s = b.f.Hgemm.Fast(rowMajor, ta, tb, m, n, k, uintptr(alpha), uintptr(p.A.Mem), uintptr(p.A.Offset), uintptr(p.A.LD),
			uintptr(p.B.Mem), uintptr(p.B.Offset), uintptr(p.B.LD), uintptr(beta), uintptr(p.C.Mem), uintptr(p.C.Offset), uintptr(p.C.LD), cell.Addr(0), dl.Addr(event))
	} else {
		call = "CLBlastHgemmStridedBatched"
		s = b.f.HgemmStridedBatched.Fast(rowMajor, ta, tb, m, n, k, uintptr(alpha), uintptr(p.A.Mem), uintptr(p.A.Offset), uintptr(p.A.LD), uintptr(p.A.Stride),
			uintptr(p.B.Mem), uintptr(p.B.Offset), uintptr(p.B.LD), uintptr(p.B.Stride), uintptr(beta),
			uintptr(p.C.Mem), uintptr(p.C.Offset), uintptr(p.C.LD), uintptr(p.C.Stride), uintptr(p.Batch), cell.Addr(0), dl.Addr(event))
	}
	cell.Put()
	runtime.KeepAlive(event)
	return check(int32(s), call, p)
}

// FillCache compiles all kernels for a device.
func (b *API) FillCache(d opencl.Device) error {
	return check(int32(b.f.FillCache.Call(uintptr(d))), "CLBlastFillCache", nil)
}

// ClearCache forgets compiled kernels, which refer to contexts.
func (b *API) ClearCache() error {
	return check(int32(b.f.ClearCache.Call()), "CLBlastClearCache", nil)
}

// Error is a call that has failed: of CLBlast itself, or of OpenCL in it.
type Error struct {
	Status int32
	Doing  string
}

// The statuses that are CLBlast's own; the others are OpenCL's.
var statusNames = map[int32]string{
	-1024: "CLBlastNotImplemented", -1022: "CLBlastInvalidMatrixA", -1021: "CLBlastInvalidMatrixB", -1020: "CLBlastInvalidMatrixC",
	-1017: "CLBlastInvalidDimension", -1016: "CLBlastInvalidLeadDimA", -1015: "CLBlastInvalidLeadDimB", -1014: "CLBlastInvalidLeadDimC",
	-1011: "CLBlastInsufficientMemoryA", -1010: "CLBlastInsufficientMemoryB", -1009: "CLBlastInsufficientMemoryC",
	-2050: "CLBlastInsufficientMemoryTemp", -2049: "CLBlastInvalidBatchCount", -2048: "CLBlastInvalidOverrideKernel",
	-2047: "CLBlastMissingOverrideParameter", -2046: "CLBlastInvalidLocalMemUsage", -2045: "CLBlastNoHalfPrecision",
	-2044: "CLBlastNoDoublePrecision", -2041: "CLBlastDatabaseError", -2040: "CLBlastUnknownError", -2039: "CLBlastUnexpectedError",
}

func (e *Error) Error() string {
	name, ok := statusNames[e.Status]
	if !ok {
		name = opencl.Status(e.Status).String()
	}
	return fmt.Sprintf("clblast: %s: %s (%d)", e.Doing, name, e.Status)
}

// OutOfMemory tells whether the device had no memory left for what was called.
func (e *Error) OutOfMemory() bool {
	return e.Status == -2050 || opencl.Status(e.Status).OutOfMemory()
}

func check(s int32, call string, p *Product) error {
	if s == 0 {
		return nil
	}
	if p != nil {
		call = fmt.Sprintf("%s of %d×%d by %d×%d", call, p.M, p.K, p.K, p.N)
	}
	return &Error{Status: s, Doing: call}
}
