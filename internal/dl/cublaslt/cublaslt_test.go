package cublaslt

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/dltest"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// The library itself, which makes descriptors without any device: it has every function,
// and takes every attribute in the size that it is set with.
func TestLibrary(t *testing.T) {
	lib, err := find.Search(find.Want{}).Open(find.CublasLt)
	testenv.Require(t, "cublaslt", err == nil, fmt.Sprint(err))
	if absent := dl.Absent(lib, &functions{}); len(absent) > 0 {
		t.Errorf("%s lacks %q", lib.Path(), absent)
	}
	lt, err := Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	if v := lt.Version(); v < 110000 {
		t.Errorf("version %d", v)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	d, err := lt.DescCreate(Compute32FFastTF32, F32)
	ok(err)
	ok(SetDesc(lt, d, TransA, int32(1)))
	ok(SetDesc(lt, d, TransB, int32(0)))
	ok(SetDesc(lt, d, EpilogueKind, GELUAuxBias))
	ok(SetDesc(lt, d, BiasPointer, uintptr(256)))
	ok(SetDesc(lt, d, BiasType, int32(BF16)))
	ok(SetDesc(lt, d, AuxPointer, uintptr(512)))
	ok(SetDesc(lt, d, AuxLD, int64(64)))
	ok(SetDesc(lt, d, AuxBatchStride, int64(4096)))
	l, err := lt.LayoutCreate(F16, 8, 16, 8)
	ok(err)
	ok(SetLayout(lt, l, BatchCount, int32(3)))
	ok(SetLayout(lt, l, BatchStride, int64(128)))
	p, err := lt.PreferenceCreate()
	ok(err)
	ok(SetPreference(lt, p, MaxWorkspace, uint64(32<<20)))
	ok(SetPreference(lt, p, ReductionMask, ReductionTyped))
	for _, a := range []PrefAttr{AlignmentA, AlignmentB, AlignmentC, AlignmentD} {
		ok(SetPreference(lt, p, a, uint32(16)))
	}
	// A size that is wrong is told.
	err = SetDesc(lt, d, AuxLD, int32(64))
	var s Status
	if !errors.As(err, &s) || s != InvalidValue || !strings.Contains(err.Error(), "attribute 12 to 64: cublasLtMatmulDescSetAttribute: CUBLAS_STATUS_INVALID_VALUE (7)") {
		t.Errorf("an attribute of a wrong size: %v", err)
	}
	ok(lt.PreferenceDestroy(p))
	ok(lt.LayoutDestroy(l))
	ok(lt.DescDestroy(d))
}

func TestHeader(t *testing.T) {
	facts := dltest.Offsets(Result{}, "cublasLtMatmulHeuristicResult_t", "Algo", "algo", "Workspace", "workspaceSize", "State", "state", "Waves", "wavesCount")
	facts = append(facts, dltest.Fact{C: "sizeof(cublasLtMatmulAlgo_t)", Go: int64(len(Algo{}))})
	for s, name := range statuses {
		if s != dl.Missing {
			facts = append(facts, dltest.Fact{C: name, Go: int64(s)})
		}
	}
	for c, v := range map[string]int64{
		"CUDA_R_32F": int64(F32), "CUDA_R_64F": int64(F64), "CUDA_R_16F": int64(F16), "CUDA_R_16BF": int64(BF16),
		"CUBLAS_COMPUTE_32F": int64(Compute32F), "CUBLAS_COMPUTE_32F_PEDANTIC": int64(Compute32FPedantic),
		"CUBLAS_COMPUTE_64F": int64(Compute64F), "CUBLAS_COMPUTE_32F_FAST_TF32": int64(Compute32FFastTF32),
		"CUBLASLT_MATMUL_DESC_TRANSA": int64(TransA), "CUBLASLT_MATMUL_DESC_TRANSB": int64(TransB), "CUBLASLT_MATMUL_DESC_EPILOGUE": int64(EpilogueKind),
		"CUBLASLT_MATMUL_DESC_BIAS_POINTER": int64(BiasPointer), "CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE": int64(BiasType),
		"CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER": int64(AuxPointer), "CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD": int64(AuxLD),
		"CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE": int64(AuxBatchStride),
		"CUBLASLT_EPILOGUE_DEFAULT":                      int64(Default), "CUBLASLT_EPILOGUE_RELU": int64(ReLU), "CUBLASLT_EPILOGUE_BIAS": int64(Bias), "CUBLASLT_EPILOGUE_RELU_BIAS": int64(ReLUBias),
		"CUBLASLT_EPILOGUE_GELU": int64(GELU), "CUBLASLT_EPILOGUE_GELU_BIAS": int64(GELUBias), "CUBLASLT_EPILOGUE_GELU_AUX": int64(GELUAux),
		"CUBLASLT_EPILOGUE_GELU_AUX_BIAS": int64(GELUAuxBias), "CUBLASLT_EPILOGUE_DGELU": int64(DGELU),
		"CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT": int64(BatchCount), "CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET": int64(BatchStride),
		"CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES": int64(MaxWorkspace), "CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK": int64(ReductionMask),
		"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES": int64(AlignmentA), "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES": int64(AlignmentB),
		"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES": int64(AlignmentC), "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES": int64(AlignmentD),
		"CUBLASLT_REDUCTION_SCHEME_NONE": int64(ReductionNone), "CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE": int64(ReductionTyped),
	} {
		facts = append(facts, dltest.Fact{C: c, Go: v})
	}
	for _, name := range dltest.Symbols(&functions{}) {
		facts = append(facts, dltest.Fact{C: "sizeof(&" + name + ")", Go: 8})
	}
	dltest.Facts(t, "cublasLt.h", facts)
}

// A product that is put into a stream allocates nothing, and its arguments are in order.
func TestMatmul(t *testing.T) {
	lib := dltest.Fake(t, &functions{}, `
size_t cublasLtGetVersion() { return 120903; }
int cublasLtMatmul(void *h, void *desc, float *alpha, uint64_t a, uint64_t al, uint64_t b, uint64_t bl, float *beta, uint64_t c, uint64_t cl,
	uint64_t d, uint64_t ol, uint64_t *algo, uint64_t work, size_t bytes, uint64_t stream) {
	if (h != (void *)1 || desc != (void *)2 || *alpha != 0.5f || a != 3 || al != 4 || b != 5 || bl != 6 || *beta != 2.0f) return 7;
	if (c != 7 || cl != 8 || d != 9 || ol != 10 || *algo != 11 || work != 12 || bytes != 13 || stream != 14) return 8;
	return 0;
}
`)
	lt, err := Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	scalars := &[2]float32{0.5, 2}
	algo := &Algo{0: 11}
	if n := testing.AllocsPerRun(100, func() {
		if err := lt.Matmul(1, 2, unsafe.Pointer(&scalars[0]), 3, 4, 5, 6, unsafe.Pointer(&scalars[1]), 7, 8, 9, 10, algo, 12, 13, 14); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
