// Package cublaslt binds NVIDIA's library of matrix products, cuBLASLt, by the names of
// its C interface. It knows no policy: which products are asked for, and of which
// algorithm, is the business of package lt.
//
// Handles, descriptors and pointers of the device are what the C interface makes of
// them, addresses, and the caller's to destroy. Every call that fails returns an error
// that names the call and the status; the error is a Status.
package cublaslt

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
)

// Type is cudaDataType.
type Type int32

const (
	F32  Type = 0
	F64  Type = 1
	F16  Type = 2
	BF16 Type = 14
)

// Compute is cublasComputeType_t.
type Compute int32

const (
	Compute32F         Compute = 68
	Compute32FPedantic Compute = 69
	Compute64F         Compute = 70
	Compute32FFastTF32 Compute = 77
)

// DescAttr is cublasLtMatmulDescAttributes_t.
type DescAttr int32

const (
	TransA         DescAttr = 3 // int32: 0 or 1
	TransB         DescAttr = 4
	EpilogueKind   DescAttr = 7 // uint32: an Epilogue
	BiasPointer    DescAttr = 8 // address
	AuxPointer     DescAttr = 11
	AuxLD          DescAttr = 12 // int64
	AuxBatchStride DescAttr = 13 // int64
	BiasType       DescAttr = 26 // int32: a Type
)

// Epilogue is cublasLtEpilogue_t.
type Epilogue uint32

const (
	Default     Epilogue = 1
	ReLU        Epilogue = 2
	Bias        Epilogue = 4
	ReLUBias    Epilogue = 6
	GELU        Epilogue = 32
	GELUBias    Epilogue = 36
	GELUAux     Epilogue = 160
	GELUAuxBias Epilogue = 164
	DGELU       Epilogue = 192
	BGradA      Epilogue = 256 // sums of A's rows go to where a bias is otherwise
	BGradB      Epilogue = 512 // of B's columns
)

// LayoutAttr is cublasLtMatrixLayoutAttribute_t.
type LayoutAttr int32

const (
	BatchCount  LayoutAttr = 5 // int32
	BatchStride LayoutAttr = 6 // int64, elements
)

// PrefAttr is cublasLtMatmulPreferenceAttributes_t.
type PrefAttr int32

const (
	MaxWorkspace   PrefAttr = 1 // uint64, bytes
	ReductionMask  PrefAttr = 3 // uint32
	AlignmentA     PrefAttr = 5 // uint32, bytes
	AlignmentB     PrefAttr = 6
	AlignmentC     PrefAttr = 7
	AlignmentD     PrefAttr = 8
	ReductionNone  uint32   = 0
	ReductionTyped uint32   = 2 // parts are added in the type of the computation, in the workspace
)

// Status is cublasStatus_t.
type Status int32

const (
	NotInitialized Status = 1
	AllocFailed    Status = 3
	InvalidValue   Status = 7
	ArchMismatch   Status = 8
	NotSupported   Status = 15
)

var statuses = map[Status]string{
	1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED", 7: "CUBLAS_STATUS_INVALID_VALUE", 8: "CUBLAS_STATUS_ARCH_MISMATCH",
	11: "CUBLAS_STATUS_MAPPING_ERROR", 13: "CUBLAS_STATUS_EXECUTION_FAILED", 14: "CUBLAS_STATUS_INTERNAL_ERROR",
	15: "CUBLAS_STATUS_NOT_SUPPORTED", 16: "CUBLAS_STATUS_LICENSE_ERROR", dl.Missing: "the library has no such function",
}

func (s Status) Error() string {
	if name, ok := statuses[s]; ok {
		return fmt.Sprintf("%s (%d)", name, int32(s))
	}
	return fmt.Sprintf("status %d of cublasStatus_t", int32(s))
}

// Handles and descriptors.
type (
	Handle     uintptr
	Desc       uintptr
	Layout     uintptr
	Preference uintptr
)

// Algo is cublasLtMatmulAlgo_t: opaque, but good for the same version of the library on
// the same kind of device once it was written down.
type Algo [64]byte

// Result is cublasLtMatmulHeuristicResult_t.
type Result struct {
	Algo      Algo
	Workspace uint64 // bytes
	State     Status
	Waves     float32
	_         [4]int32
}

// Library is cuBLASLt.
type Library struct {
	path string
	fn   functions
}

type functions struct {
	Version       dl.Func `c:"cublasLtGetVersion"`
	Create        dl.Func `c:"cublasLtCreate"`
	Destroy       dl.Func `c:"cublasLtDestroy"`
	DescCreate    dl.Func `c:"cublasLtMatmulDescCreate"`
	DescDestroy   dl.Func `c:"cublasLtMatmulDescDestroy"`
	DescSet       dl.Func `c:"cublasLtMatmulDescSetAttribute"`
	LayoutCreate  dl.Func `c:"cublasLtMatrixLayoutCreate"`
	LayoutDestroy dl.Func `c:"cublasLtMatrixLayoutDestroy"`
	LayoutSet     dl.Func `c:"cublasLtMatrixLayoutSetAttribute"`
	PrefCreate    dl.Func `c:"cublasLtMatmulPreferenceCreate"`
	PrefDestroy   dl.Func `c:"cublasLtMatmulPreferenceDestroy"`
	PrefSet       dl.Func `c:"cublasLtMatmulPreferenceSetAttribute"`
	Heuristic     dl.Func `c:"cublasLtMatmulAlgoGetHeuristic"`
	Matmul        dl.Func `c:"cublasLtMatmul"`
}

// Load finds the functions in an opened library.
func Load(lib dl.Symbols) (*Library, error) {
	l := &Library{path: lib.Path()}
	if err := dl.Bind(lib, &l.fn); err != nil {
		return nil, err
	}
	return l, nil
}

// Path is the library's file.
func (l *Library) Path() string { return l.path }

// check makes an error of a status.
func check(name string, r uintptr) error {
	if s := Status(int32(r)); s != 0 {
		return fmt.Errorf("%s: %w", name, s)
	}
	return nil
}

// Version is the library's: 120903 for 12.9.3.
func (l *Library) Version() int { return int(l.fn.Version.Call()) }

// Create makes a handle for the current context.
func (l *Library) Create() (Handle, error) {
	h := new(Handle)
	err := check("cublasLtCreate", l.fn.Create.Call(uintptr(unsafe.Pointer(h))))
	return *h, err
}

func (l *Library) Destroy(h Handle) error {
	return check("cublasLtDestroy", l.fn.Destroy.Call(uintptr(h)))
}

// DescCreate makes the descriptor of a product.
func (l *Library) DescCreate(c Compute, scale Type) (Desc, error) {
	d := new(Desc)
	err := check("cublasLtMatmulDescCreate", l.fn.DescCreate.Call(uintptr(unsafe.Pointer(d)), dl.Int(int(c)), dl.Int(int(scale))))
	return *d, err
}

func (l *Library) DescDestroy(d Desc) error {
	return check("cublasLtMatmulDescDestroy", l.fn.DescDestroy.Call(uintptr(d)))
}

// LayoutCreate makes the descriptor of a matrix whose columns are ld elements apart.
func (l *Library) LayoutCreate(t Type, rows, cols, ld int) (Layout, error) {
	d := new(Layout)
	err := check("cublasLtMatrixLayoutCreate", l.fn.LayoutCreate.Call(uintptr(unsafe.Pointer(d)), dl.Int(int(t)), uintptr(rows), uintptr(cols), uintptr(ld)))
	return *d, err
}

func (l *Library) LayoutDestroy(d Layout) error {
	return check("cublasLtMatrixLayoutDestroy", l.fn.LayoutDestroy.Call(uintptr(d)))
}

func (l *Library) PreferenceCreate() (Preference, error) {
	d := new(Preference)
	err := check("cublasLtMatmulPreferenceCreate", l.fn.PrefCreate.Call(uintptr(unsafe.Pointer(d))))
	return *d, err
}

func (l *Library) PreferenceDestroy(d Preference) error {
	return check("cublasLtMatmulPreferenceDestroy", l.fn.PrefDestroy.Call(uintptr(d)))
}

// Value is what an attribute can be.
type Value interface {
	~int32 | ~uint32 | ~int64 | ~uint64 | ~uintptr
}

// SetDesc, SetLayout and SetPreference set an attribute. The type of the value is that
// which the C interface documents for the attribute.
func SetDesc[T Value](l *Library, d Desc, a DescAttr, v T) error {
	return set("cublasLtMatmulDescSetAttribute", l.fn.DescSet, uintptr(d), int32(a), v)
}

func SetLayout[T Value](l *Library, d Layout, a LayoutAttr, v T) error {
	return set("cublasLtMatrixLayoutSetAttribute", l.fn.LayoutSet, uintptr(d), int32(a), v)
}

func SetPreference[T Value](l *Library, d Preference, a PrefAttr, v T) error {
	return set("cublasLtMatmulPreferenceSetAttribute", l.fn.PrefSet, uintptr(d), int32(a), v)
}

func set[T Value](name string, fn dl.Func, d uintptr, attr int32, v T) error {
	p := new(T)
	*p = v
	if err := check(name, fn.Call(d, dl.Int(int(attr)), uintptr(unsafe.Pointer(p)), unsafe.Sizeof(v))); err != nil {
		return fmt.Errorf("attribute %d to %v: %w", attr, v, err)
	}
	return nil
}

// Heuristic asks for at most n algorithms for a product, the most promising first.
func (l *Library) Heuristic(h Handle, d Desc, a, b, c, out Layout, p Preference, n int) ([]Result, error) {
	results := make([]Result, n)
	got := new(int32)
	err := check("cublasLtMatmulAlgoGetHeuristic", l.fn.Heuristic.Call(uintptr(h), uintptr(d), uintptr(a), uintptr(b), uintptr(c), uintptr(out), uintptr(p),
		dl.Int(int(n)), uintptr(unsafe.Pointer(&results[0])), uintptr(unsafe.Pointer(got))))
	if err != nil {
		return nil, err
	}
	return results[:max(0, min(int(*got), n))], nil
}

// Matmul puts D = alpha·op(A)·op(B) + beta·C and its epilogue into a stream. Alpha and
// beta are of the descriptor's scale type, in the host's memory; a, b, c, d and work are
// addresses of the device. It does not allocate.
func (l *Library) Matmul(h Handle, desc Desc, alpha unsafe.Pointer, a uintptr, al Layout, b uintptr, bl Layout,
	beta unsafe.Pointer, c uintptr, cl Layout, d uintptr, ol Layout, algo *Algo, work uintptr, bytes int, stream uintptr) error {
	r := l.fn.Matmul.Fast(uintptr(h), uintptr(desc), dl.Addr((*byte)(alpha)), a, uintptr(al), b, uintptr(bl),
		dl.Addr((*byte)(beta)), c, uintptr(cl), d, uintptr(ol), dl.Addr(algo), work, uintptr(bytes), stream)
	runtime.KeepAlive(alpha)
	runtime.KeepAlive(beta)
	runtime.KeepAlive(algo)
	return check("cublasLtMatmul", r)
}
