// Package cudnn binds cuDNN 9's interface of graphs, the "backend" interface, by the
// names of C. A graph is made of descriptors: each has a type and attributes, some of
// which are other descriptors, and is finalized before it is used. What graphs are made
// is the business of package dnn.
//
// Every call that fails returns an error that names the call, and the Status with what
// the library says about it.
package cudnn

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
)

// Kind is cudnnBackendDescriptorType_t.
type Kind int32

const (
	Pointwise        Kind = 0
	Convolution      Kind = 1
	Engine           Kind = 2
	EngineConfig     Kind = 3
	Heuristics       Kind = 4
	Plan             Kind = 5
	OpConvForward    Kind = 10
	OpConvBwdFilter  Kind = 11
	OpConvBwdData    Kind = 12
	OpPointwise      Kind = 13
	OperationGraph   Kind = 15
	VariantPack      Kind = 16
	Tensor           Kind = 17
	Matmul           Kind = 18
	OpMatmul         Kind = 19
	Reduction        Kind = 21
	OpReduction      Kind = 22
	OpReshape        Kind = 31
	DeviceProperties Kind = 38
)

// Attr is cudnnBackendAttributeName_t.
type Attr int32

const (
	PointwiseMode      Attr = 0
	PointwisePrecision Attr = 1
	PointwiseAxis      Attr = 9

	ConvPrecision    Attr = 100
	ConvMode         Attr = 101
	ConvDilations    Attr = 102
	ConvStrides      Attr = 103
	ConvPostPaddings Attr = 104
	ConvPrePaddings  Attr = 105
	ConvSpatialDims  Attr = 106

	HeurMode    Attr = 200
	HeurGraph   Attr = 201
	HeurResults Attr = 202
	HeurDevice  Attr = 204

	ConfigEngine Attr = 300

	PlanHandle    Attr = 400
	PlanConfig    Attr = 401
	PlanWorkspace Attr = 402
	PlanJSON      Attr = 405
	PlanDevice    Attr = 407

	ConvForwardAlpha Attr = 700
	ConvForwardBeta  Attr = 701
	ConvForwardConv  Attr = 702
	ConvForwardW     Attr = 703
	ConvForwardX     Attr = 704
	ConvForwardY     Attr = 705
	ConvDataAlpha    Attr = 706
	ConvDataBeta     Attr = 707
	ConvDataConv     Attr = 708
	ConvDataW        Attr = 709
	ConvDataDX       Attr = 710
	ConvDataDY       Attr = 711
	ConvFilterAlpha  Attr = 712
	ConvFilterBeta   Attr = 713
	ConvFilterConv   Attr = 714
	ConvFilterDW     Attr = 715
	ConvFilterX      Attr = 716
	ConvFilterDY     Attr = 717

	OpPointwiseDesc   Attr = 750
	OpPointwiseX      Attr = 751
	OpPointwiseB      Attr = 752
	OpPointwiseY      Attr = 753
	OpPointwiseSelect Attr = 758

	GraphHandle Attr = 800
	GraphOps    Attr = 801

	TensorAlignment Attr = 900
	TensorType      Attr = 901
	TensorDims      Attr = 902
	TensorStrides   Attr = 903
	TensorID        Attr = 906
	TensorVirtual   Attr = 907
	TensorByValue   Attr = 908

	PackIDs       Attr = 1000
	PackPointers  Attr = 1001
	PackWorkspace Attr = 1003

	EngineGraph Attr = 1300
	EngineIndex Attr = 1301
	EngineNotes Attr = 1303

	MatmulPrecision Attr = 1500
	OpMatmulA       Attr = 1520
	OpMatmulB       Attr = 1521
	OpMatmulC       Attr = 1522
	OpMatmulDesc    Attr = 1523

	ReductionOp        Attr = 1600
	ReductionPrecision Attr = 1601
	OpReductionX       Attr = 1610
	OpReductionY       Attr = 1611
	OpReductionDesc    Attr = 1612

	OpReshapeX Attr = 2200
	OpReshapeY Attr = 2201

	DevicePropertiesJSON Attr = 2702
)

// Attribute types, cudnnBackendAttributeType_t.
const (
	typeHandle     = 0
	typeDataType   = 1
	typeBool       = 2
	typeInt64      = 3
	typeFloat      = 4
	typePointer    = 6
	typeConvMode   = 7
	typeHeurMode   = 8
	typeNote       = 11
	typePointwise  = 14
	typeDescriptor = 15
	typeReduction  = 18
	typeChar       = 24
)

// DataType is cudnnDataType_t.
type DataType int32

const (
	F32  DataType = 0
	F64  DataType = 1
	F16  DataType = 2
	I32  DataType = 4
	BF16 DataType = 9
	Bool DataType = 11
)

// Mode is cudnnPointwiseMode_t.
type Mode int32

const (
	Add          Mode = 0
	Mul          Mode = 1
	Div          Mode = 6
	Sub          Mode = 9
	Exp          Mode = 13
	Log          Mode = 15
	Identity     Mode = 21
	CompareGE    Mode = 303
	GenIndex     Mode = 501
	BinarySelect Mode = 601
)

// Reduce is cudnnReduceTensorOp_t.
type Reduce int32

const (
	ReduceAdd Reduce = 0
	ReduceMax Reduce = 3
)

// HeurModeOf is cudnnBackendHeurMode_t.
type HeurModeOf int32

const (
	HeurFallback HeurModeOf = 2
	HeurA        HeurModeOf = 3
)

// ConvModeOf is cudnnConvolutionMode_t.
type ConvModeOf int32

const CrossCorrelation ConvModeOf = 1

// Note is cudnnBackendNumericalNote_t: what an engine does to numbers.
type Note int32

const (
	TensorCore       Note = 0 // for float32: TF32
	DownConvert      Note = 1 // operands are rounded
	ReducedReduction Note = 2 // sums are rounded
	FFT              Note = 3
	Nondeterministic Note = 4
	Winograd         Note = 5
)

// Status is cudnnStatus_t.
type Status int32

// NotSupported tells whether the status says that a graph cannot be run in this way,
// though nothing is wrong with it.
func (s Status) NotSupported() bool { return s >= 3000 && s < 4000 }

func (s Status) Error() string {
	if name, ok := statuses[s]; ok {
		return fmt.Sprintf("%s (%d)", name, int32(s))
	}
	if s == dl.Missing {
		return "the library has no such function"
	}
	return fmt.Sprintf("status %d of cudnnStatus_t", int32(s))
}

var statuses = map[Status]string{
	0: "CUDNN_STATUS_SUCCESS", 1001: "CUDNN_STATUS_NOT_INITIALIZED", 1002: "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
	1003: "CUDNN_STATUS_SERIALIZATION_VERSION_MISMATCH", 1004: "CUDNN_STATUS_DEPRECATED", 1005: "CUDNN_STATUS_LICENSE_ERROR",
	1006: "CUDNN_STATUS_RUNTIME_IN_PROGRESS", 1007: "CUDNN_STATUS_RUNTIME_FP_OVERFLOW", 1008: "CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED",
	2000: "CUDNN_STATUS_BAD_PARAM", 2002: "CUDNN_STATUS_BAD_PARAM_NULL_POINTER", 2003: "CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER",
	2004: "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED", 2005: "CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND", 2006: "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT",
	2007: "CUDNN_STATUS_BAD_PARAM_STREAM_MISMATCH", 2008: "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH", 2009: "CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES",
	2010: "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE", 2011: "CUDNN_STATUS_BAD_PARAM_CUDA_GRAPH_MISMATCH", 2012: "CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE",
	3000: "CUDNN_STATUS_NOT_SUPPORTED", 3001: "CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN", 3002: "CUDNN_STATUS_NOT_SUPPORTED_SHAPE",
	3003: "CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE", 3004: "CUDNN_STATUS_NOT_SUPPORTED_LAYOUT",
	3005: "CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDA_DRIVER", 3006: "CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDART",
	3007: "CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH", 3008: "CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING",
	3009: "CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE", 3010: "CUDNN_STATUS_NOT_SUPPORTED_SHARED_MEMORY_INSUFFICIENT",
	3011: "CUDNN_STATUS_NOT_SUPPORTED_PADDING", 3012: "CUDNN_STATUS_NOT_SUPPORTED_BAD_LAUNCH_PARAM",
	3013: "CUDNN_STATUS_NOT_SUPPORTED_CUDA_GRAPH_NATIVE_API", 3014: "CUDNN_STATUS_NOT_SUPPORTED_INVALID_DYNAMIC_SHAPE",
	4000: "CUDNN_STATUS_INTERNAL_ERROR", 4001: "CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED", 4002: "CUDNN_STATUS_INTERNAL_ERROR_UNEXPECTED_VALUE",
	4003: "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", 4004: "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
	4005: "CUDNN_STATUS_INTERNAL_ERROR_BAD_LAUNCH_PARAM", 4006: "CUDNN_STATUS_INTERNAL_ERROR_TEXTURE_CREATION_FAILED",
	5000: "CUDNN_STATUS_EXECUTION_FAILED", 5001: "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER", 5002: "CUDNN_STATUS_EXECUTION_FAILED_CUBLAS",
	5003: "CUDNN_STATUS_EXECUTION_FAILED_CUDART", 5004: "CUDNN_STATUS_EXECUTION_FAILED_CURAND",
}

type (
	Handle     uintptr
	Descriptor uintptr
)

// Library is cuDNN.
type Library struct {
	path string
	fn   functions
}

type functions struct {
	Version           dl.Func `c:"cudnnGetVersion"`
	LastError         dl.Func `c:"cudnnGetLastErrorString"`
	Create            dl.Func `c:"cudnnCreate"`
	Destroy           dl.Func `c:"cudnnDestroy"`
	SetStream         dl.Func `c:"cudnnSetStream"`
	CreateDescriptor  dl.Func `c:"cudnnBackendCreateDescriptor"`
	DestroyDescriptor dl.Func `c:"cudnnBackendDestroyDescriptor"`
	Set               dl.Func `c:"cudnnBackendSetAttribute"`
	Get               dl.Func `c:"cudnnBackendGetAttribute"`
	Finalize          dl.Func `c:"cudnnBackendFinalize"`
	Execute           dl.Func `c:"cudnnBackendExecute"`
}

// Load finds the functions in an opened library. cuDNN 8 lacks some.
func Load(lib dl.Symbols) (*Library, error) {
	l := &Library{path: lib.Path()}
	if err := dl.Bind(lib, &l.fn); err != nil {
		return nil, err
	}
	return l, nil
}

// Path is the library's file.
func (l *Library) Path() string { return l.path }

// check makes an error of a status, with what the library has to say about it.
func (l *Library) check(name string, r uintptr) error {
	s := Status(int32(r))
	if s == 0 {
		return nil
	}
	text := make([]byte, 512)
	l.fn.LastError.Call(uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	if why := dl.Text(text); why != "" {
		return fmt.Errorf("%s: %w: %s", name, s, why)
	}
	return fmt.Errorf("%s: %w", name, s)
}

// Version is the library's: 91002 for 9.10.2.
func (l *Library) Version() int { return int(l.fn.Version.Call()) }

// Create makes a handle for the current context.
func (l *Library) Create() (Handle, error) {
	h := new(Handle)
	err := l.check("cudnnCreate", l.fn.Create.Call(uintptr(unsafe.Pointer(h))))
	return *h, err
}

func (l *Library) Destroy(h Handle) error {
	return l.check("cudnnDestroy", l.fn.Destroy.Call(uintptr(h)))
}

// SetStream says in which stream plans are executed.
func (l *Library) SetStream(h Handle, stream uintptr) error {
	return l.check("cudnnSetStream", l.fn.SetStream.Fast(uintptr(h), stream))
}

// New makes a descriptor.
func (l *Library) New(k Kind) (Descriptor, error) {
	d := new(Descriptor)
	err := l.check("cudnnBackendCreateDescriptor", l.fn.CreateDescriptor.Call(uintptr(uint32(k)), uintptr(unsafe.Pointer(d))))
	return *d, err
}

func (l *Library) Free(d Descriptor) error {
	return l.check("cudnnBackendDestroyDescriptor", l.fn.DestroyDescriptor.Call(uintptr(d)))
}

func (l *Library) Finalize(d Descriptor) error {
	return l.check("cudnnBackendFinalize", l.fn.Finalize.Call(uintptr(d)))
}

// Execute puts a plan into the handle's stream. It does not allocate.
func (l *Library) Execute(h Handle, plan, pack Descriptor) error {
	return l.check("cudnnBackendExecute", l.fn.Execute.Fast(uintptr(h), uintptr(plan), uintptr(pack)))
}

// Set sets an attribute, to one value or to several of one type. The type that C is told
// follows from that of the values; a string is characters without a zero behind them.
func (l *Library) Set(d Descriptor, a Attr, v any) error {
	err := l.set(d, a, v)
	if err != nil {
		return fmt.Errorf("attribute %d to %v: %w", a, v, err)
	}
	return nil
}

func (l *Library) set(d Descriptor, a Attr, v any) error {
	switch v := v.(type) {
	case Handle:
		return setAll(l, d, a, typeHandle, []Handle{v})
	case DataType:
		return setAll(l, d, a, typeDataType, []DataType{v})
	case bool:
		b := []uint8{0}
		if v {
			b[0] = 1
		}
		return setAll(l, d, a, typeBool, b)
	case int:
		return setAll(l, d, a, typeInt64, []int64{int64(v)})
	case []int:
		list := make([]int64, len(v))
		for i := range v {
			list[i] = int64(v[i])
		}
		return setAll(l, d, a, typeInt64, list)
	case float32:
		return setAll(l, d, a, typeFloat, []uint32{math.Float32bits(v)})
	case uintptr:
		return setAll(l, d, a, typePointer, []uintptr{v})
	case []uintptr:
		return setAll(l, d, a, typePointer, v)
	case ConvModeOf:
		return setAll(l, d, a, typeConvMode, []ConvModeOf{v})
	case HeurModeOf:
		return setAll(l, d, a, typeHeurMode, []HeurModeOf{v})
	case Mode:
		return setAll(l, d, a, typePointwise, []Mode{v})
	case Reduce:
		return setAll(l, d, a, typeReduction, []Reduce{v})
	case Descriptor:
		return setAll(l, d, a, typeDescriptor, []Descriptor{v})
	case []Descriptor:
		return setAll(l, d, a, typeDescriptor, v)
	case string:
		return setAll(l, d, a, typeChar, []byte(v))
	}
	return fmt.Errorf("no type of an attribute for %T", v)
}

func setAll[T any](l *Library, d Descriptor, a Attr, t int, v []T) error {
	var at unsafe.Pointer
	if len(v) > 0 {
		at = unsafe.Pointer(&v[0])
	}
	return l.check("cudnnBackendSetAttribute", l.fn.Set.Call(uintptr(d), uintptr(uint32(a)), uintptr(t), uintptr(len(v)), uintptr(at)))
}

// Int reads an attribute that is a number.
func (l *Library) Int(d Descriptor, a Attr) (int, error) {
	n, v := new(int64), new(int64)
	err := l.check("cudnnBackendGetAttribute", l.fn.Get.Call(uintptr(d), uintptr(uint32(a)), typeInt64, 1, uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(v))))
	return int(*v), err
}

// Text reads an attribute that is text.
func (l *Library) Text(d Descriptor, a Attr) (string, error) {
	n := new(int64)
	if err := l.check("cudnnBackendGetAttribute", l.fn.Get.Call(uintptr(d), uintptr(uint32(a)), typeChar, 0, uintptr(unsafe.Pointer(n)), 0)); err != nil || *n <= 0 {
		return "", err
	}
	text := make([]byte, *n)
	err := l.check("cudnnBackendGetAttribute", l.fn.Get.Call(uintptr(d), uintptr(uint32(a)), typeChar, uintptr(*n), uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(&text[0]))))
	return dl.Text(text), err
}

// Count is the number of descriptors that an attribute holds.
func (l *Library) Count(d Descriptor, a Attr) (int, error) {
	n := new(int64)
	err := l.check("cudnnBackendGetAttribute", l.fn.Get.Call(uintptr(d), uintptr(uint32(a)), typeDescriptor, 0, uintptr(unsafe.Pointer(n)), 0))
	return int(*n), err
}

// Descriptors has the library put what an attribute holds into descriptors that were
// made for it, and returns how many it has filled.
func (l *Library) Descriptors(d Descriptor, a Attr, into []Descriptor) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	n := new(int64)
	err := l.check("cudnnBackendGetAttribute", l.fn.Get.Call(uintptr(d), uintptr(uint32(a)), typeDescriptor, uintptr(len(into)), uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(&into[0]))))
	return min(int(*n), len(into)), err
}

// Notes reads the notes of an engine.
func (l *Library) Notes(engine Descriptor) ([]Note, error) {
	notes, n := make([]Note, 32), new(int64)
	err := l.check("cudnnBackendGetAttribute", l.fn.Get.Call(uintptr(engine), uintptr(EngineNotes), typeNote, uintptr(len(notes)), uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(&notes[0]))))
	return notes[:max(0, min(int(*n), len(notes)))], err
}
