package cudnn

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/dltest"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// The library itself, which makes and checks some descriptors without any device.
func TestLibrary(t *testing.T) {
	lib, err := find.Search(find.Want{}).Open(find.CuDNN)
	testenv.Require(t, "cudnn", err == nil, fmt.Sprint(err))
	if absent := dl.Absent(lib, &functions{}); len(absent) > 0 {
		t.Errorf("%s lacks %q", lib.Path(), absent)
	}
	dnn, err := Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	if v := dnn.Version(); v < 90000 || v >= 100000 {
		t.Errorf("version %d", v)
	}
	set := func(d Descriptor, values map[Attr]any) {
		t.Helper()
		for a, v := range values {
			if err := dnn.Set(d, a, v); err != nil {
				t.Error(err)
			}
		}
	}
	create := func(k Kind) Descriptor {
		t.Helper()
		d, err := dnn.New(k)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	finalize := func(d Descriptor) {
		t.Helper()
		if err := dnn.Finalize(d); err != nil {
			t.Error(err)
		}
		if err := dnn.Free(d); err != nil {
			t.Error(err)
		}
	}
	d := create(Tensor)
	set(d, map[Attr]any{TensorAlignment: 16, TensorType: F16, TensorDims: []int{2, 3, 4, 5}, TensorStrides: []int{60, 1, 15, 3}, TensorID: 7, TensorVirtual: false, TensorByValue: false})
	err = dnn.Finalize(d)
	if errors.Is(err, Status(1008)) {
		_, missing := find.Search(find.Want{}).Open(find.CUDA)
		testenv.Require(t, "cuda", missing == nil, fmt.Sprintf("this cuDNN wants the driver for its descriptors: %v", missing))
	}
	if err != nil {
		t.Error(err)
	}
	if id, err := dnn.Int(d, TensorID); err != nil || id != 7 {
		t.Errorf("a tensor's number is %d (%v), want 7", id, err)
	}
	if err := dnn.Free(d); err != nil {
		t.Error(err)
	}
	d = create(Convolution)
	set(d, map[Attr]any{ConvPrecision: F32, ConvMode: CrossCorrelation, ConvSpatialDims: 2, ConvDilations: []int{1, 1}, ConvStrides: []int{2, 2}, ConvPrePaddings: []int{1, 1}, ConvPostPaddings: []int{1, 1}})
	finalize(d)
	d = create(Pointwise)
	set(d, map[Attr]any{PointwiseMode: GenIndex, PointwisePrecision: F32, PointwiseAxis: 2})
	finalize(d)
	d = create(Matmul)
	set(d, map[Attr]any{MatmulPrecision: F32})
	finalize(d)
	d = create(Reduction)
	set(d, map[Attr]any{ReductionOp: ReduceMax, ReductionPrecision: F32})
	finalize(d)

	// What the library does not take, it says why.
	d = create(Tensor)
	err = dnn.Set(d, TensorDims, F16)
	var s Status
	if !errors.As(err, &s) || s < 2000 || s >= 3000 || !strings.Contains(err.Error(), "cudnnBackendSetAttribute: CUDNN_STATUS_BAD_PARAM") {
		t.Errorf("an attribute of a wrong type: %v", err)
	}
	if err := dnn.Finalize(d); err == nil || !strings.Contains(err.Error(), "cudnnBackendFinalize: CUDNN_STATUS_") {
		t.Errorf("a tensor without extents: %v", err)
	}
	if err := dnn.Free(d); err != nil {
		t.Error(err)
	}
}

func TestHeader(t *testing.T) {
	var facts []dltest.Fact
	for s, name := range statuses {
		if s != 3014 { // 9.18
			facts = append(facts, dltest.Fact{C: name, Go: int64(s)})
		}
	}
	for c, v := range map[string]Kind{
		"POINTWISE": Pointwise, "CONVOLUTION": Convolution, "ENGINE": Engine, "ENGINECFG": EngineConfig, "ENGINEHEUR": Heuristics, "EXECUTION_PLAN": Plan,
		"OPERATION_CONVOLUTION_FORWARD": OpConvForward, "OPERATION_CONVOLUTION_BACKWARD_FILTER": OpConvBwdFilter, "OPERATION_CONVOLUTION_BACKWARD_DATA": OpConvBwdData,
		"OPERATION_POINTWISE": OpPointwise, "OPERATIONGRAPH": OperationGraph, "VARIANT_PACK": VariantPack, "TENSOR": Tensor, "MATMUL": Matmul, "OPERATION_MATMUL": OpMatmul,
		"REDUCTION": Reduction, "OPERATION_REDUCTION": OpReduction, "OPERATION_RESHAPE": OpReshape, "DEVICEPROP": DeviceProperties,
	} {
		facts = append(facts, dltest.Fact{C: "CUDNN_BACKEND_" + c + "_DESCRIPTOR", Go: int64(v)})
	}
	for c, v := range map[string]Attr{
		"POINTWISE_MODE": PointwiseMode, "POINTWISE_MATH_PREC": PointwisePrecision, "POINTWISE_AXIS": PointwiseAxis,
		"CONVOLUTION_COMP_TYPE": ConvPrecision, "CONVOLUTION_CONV_MODE": ConvMode, "CONVOLUTION_DILATIONS": ConvDilations, "CONVOLUTION_FILTER_STRIDES": ConvStrides,
		"CONVOLUTION_POST_PADDINGS": ConvPostPaddings, "CONVOLUTION_PRE_PADDINGS": ConvPrePaddings, "CONVOLUTION_SPATIAL_DIMS": ConvSpatialDims,
		"ENGINEHEUR_MODE": HeurMode, "ENGINEHEUR_OPERATION_GRAPH": HeurGraph, "ENGINEHEUR_RESULTS": HeurResults, "ENGINEHEUR_DEVICEPROP": HeurDevice,
		"ENGINECFG_ENGINE": ConfigEngine, "EXECUTION_PLAN_HANDLE": PlanHandle, "EXECUTION_PLAN_ENGINE_CONFIG": PlanConfig,
		"EXECUTION_PLAN_WORKSPACE_SIZE": PlanWorkspace, "EXECUTION_PLAN_JSON_REPRESENTATION": PlanJSON, "EXECUTION_PLAN_DEVICEPROP": PlanDevice,
		"OPERATION_CONVOLUTION_FORWARD_ALPHA": ConvForwardAlpha, "OPERATION_CONVOLUTION_FORWARD_BETA": ConvForwardBeta, "OPERATION_CONVOLUTION_FORWARD_CONV_DESC": ConvForwardConv,
		"OPERATION_CONVOLUTION_FORWARD_W": ConvForwardW, "OPERATION_CONVOLUTION_FORWARD_X": ConvForwardX, "OPERATION_CONVOLUTION_FORWARD_Y": ConvForwardY,
		"OPERATION_CONVOLUTION_BWD_DATA_ALPHA": ConvDataAlpha, "OPERATION_CONVOLUTION_BWD_DATA_BETA": ConvDataBeta, "OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC": ConvDataConv,
		"OPERATION_CONVOLUTION_BWD_DATA_W": ConvDataW, "OPERATION_CONVOLUTION_BWD_DATA_DX": ConvDataDX, "OPERATION_CONVOLUTION_BWD_DATA_DY": ConvDataDY,
		"OPERATION_CONVOLUTION_BWD_FILTER_ALPHA": ConvFilterAlpha, "OPERATION_CONVOLUTION_BWD_FILTER_BETA": ConvFilterBeta, "OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC": ConvFilterConv,
		"OPERATION_CONVOLUTION_BWD_FILTER_DW": ConvFilterDW, "OPERATION_CONVOLUTION_BWD_FILTER_X": ConvFilterX, "OPERATION_CONVOLUTION_BWD_FILTER_DY": ConvFilterDY,
		"OPERATION_POINTWISE_PW_DESCRIPTOR": OpPointwiseDesc, "OPERATION_POINTWISE_XDESC": OpPointwiseX, "OPERATION_POINTWISE_BDESC": OpPointwiseB,
		"OPERATION_POINTWISE_YDESC": OpPointwiseY, "OPERATION_POINTWISE_TDESC": OpPointwiseSelect,
		"OPERATIONGRAPH_HANDLE": GraphHandle, "OPERATIONGRAPH_OPS": GraphOps,
		"TENSOR_BYTE_ALIGNMENT": TensorAlignment, "TENSOR_DATA_TYPE": TensorType, "TENSOR_DIMENSIONS": TensorDims, "TENSOR_STRIDES": TensorStrides, "TENSOR_UNIQUE_ID": TensorID,
		"TENSOR_IS_VIRTUAL": TensorVirtual, "TENSOR_IS_BY_VALUE": TensorByValue,
		"VARIANT_PACK_UNIQUE_IDS": PackIDs, "VARIANT_PACK_DATA_POINTERS": PackPointers, "VARIANT_PACK_WORKSPACE": PackWorkspace,
		"ENGINE_OPERATION_GRAPH": EngineGraph, "ENGINE_GLOBAL_INDEX": EngineIndex, "ENGINE_NUMERICAL_NOTE": EngineNotes,
		"MATMUL_COMP_TYPE": MatmulPrecision, "OPERATION_MATMUL_ADESC": OpMatmulA, "OPERATION_MATMUL_BDESC": OpMatmulB, "OPERATION_MATMUL_CDESC": OpMatmulC, "OPERATION_MATMUL_DESC": OpMatmulDesc,
		"REDUCTION_OPERATOR": ReductionOp, "REDUCTION_COMP_TYPE": ReductionPrecision, "OPERATION_REDUCTION_XDESC": OpReductionX, "OPERATION_REDUCTION_YDESC": OpReductionY, "OPERATION_REDUCTION_DESC": OpReductionDesc,
		"OPERATION_RESHAPE_XDESC": OpReshapeX, "OPERATION_RESHAPE_YDESC": OpReshapeY, "DEVICEPROP_JSON_REPRESENTATION": DevicePropertiesJSON,
	} {
		facts = append(facts, dltest.Fact{C: "CUDNN_ATTR_" + c, Go: int64(v)})
	}
	for c, v := range map[string]int64{
		"HANDLE": typeHandle, "DATA_TYPE": typeDataType, "BOOLEAN": typeBool, "INT64": typeInt64, "FLOAT": typeFloat, "VOID_PTR": typePointer, "CONVOLUTION_MODE": typeConvMode,
		"HEUR_MODE": typeHeurMode, "NUMERICAL_NOTE": typeNote, "POINTWISE_MODE": typePointwise, "BACKEND_DESCRIPTOR": typeDescriptor, "REDUCTION_OPERATOR_TYPE": typeReduction, "CHAR": typeChar,
	} {
		facts = append(facts, dltest.Fact{C: "CUDNN_TYPE_" + c, Go: v})
	}
	for c, v := range map[string]int64{
		"DATA_FLOAT": int64(F32), "DATA_DOUBLE": int64(F64), "DATA_HALF": int64(F16), "DATA_INT32": int64(I32), "DATA_BFLOAT16": int64(BF16), "DATA_BOOLEAN": int64(Bool),
		"POINTWISE_ADD": int64(Add), "POINTWISE_MUL": int64(Mul), "POINTWISE_DIV": int64(Div), "POINTWISE_SUB": int64(Sub), "POINTWISE_EXP": int64(Exp), "POINTWISE_LOG": int64(Log),
		"POINTWISE_IDENTITY": int64(Identity), "POINTWISE_CMP_GE": int64(CompareGE), "POINTWISE_GEN_INDEX": int64(GenIndex), "POINTWISE_BINARY_SELECT": int64(BinarySelect),
		"REDUCE_TENSOR_ADD": int64(ReduceAdd), "REDUCE_TENSOR_MAX": int64(ReduceMax), "HEUR_MODE_FALLBACK": int64(HeurFallback), "HEUR_MODE_A": int64(HeurA),
		"CROSS_CORRELATION":          int64(CrossCorrelation),
		"NUMERICAL_NOTE_TENSOR_CORE": int64(TensorCore), "NUMERICAL_NOTE_DOWN_CONVERT_INPUTS": int64(DownConvert), "NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION": int64(ReducedReduction),
		"NUMERICAL_NOTE_FFT": int64(FFT), "NUMERICAL_NOTE_NONDETERMINISTIC": int64(Nondeterministic), "NUMERICAL_NOTE_WINOGRAD": int64(Winograd),
	} {
		facts = append(facts, dltest.Fact{C: "CUDNN_" + c, Go: v})
	}
	for _, name := range dltest.Symbols(&functions{}) {
		facts = append(facts, dltest.Fact{C: "sizeof(&" + name + ")", Go: 8})
	}
	dltest.Facts(t, "cudnn.h", facts)
}
