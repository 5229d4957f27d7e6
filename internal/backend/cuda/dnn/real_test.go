package dnn

import (
	"fmt"
	"os"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

const h100 = `{"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":132,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,"totalGlobalMem":84987740160,"smClockRateKHz":1980000,"memClockRateKHz":2619000,"memoryBusWidth":5120,"l2CacheSize":52428800,"cudaDeviceId":0,"deviceVer":%d,"driverVer":12090,"deviceName":"NVIDIA H100 80GB HBM3","smCountOrigin":0,"oversizedSharedMemoryPerBlock":0}`

func TestReal(t *testing.T) {
	path := os.Getenv("SINTER_CUDNN")
	if path == "" {
		t.Skip("no cuDNN")
	}
	lib, err := dl.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	fns, err := cudnn.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(fns.Version())
	if _, err := fns.Create(); err != nil {
		t.Log(err)
	}
	d, err := fns.New(cudnn.DeviceProperties)
	if err != nil {
		t.Fatal(err)
	}
	if err := fns.Set(d, cudnn.DevicePropertiesJSON, fmt.Sprintf(h100, 900)); err != nil {
		t.Fatal(err)
	}
	if err := fns.Finalize(d); err != nil {
		t.Fatal(err)
	}
	p := &Planner{Options: Options{Card: card.Of(90)}, lib: fns, version: fns.Version(), refused: map[string]string{}, properties: d}
	try := func(name string, dt dtype.DType, g *graph) {
		b, err := p.build(g)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, m := range []cudnn.HeurModeOf{cudnn.HeurA, cudnn.HeurFallback} {
			c, err := p.configs(b, m)
			t.Logf("%s: mode %d: %d configs %v", name, m, len(c), err)
			for i, x := range c {
				ok, err := p.accepts(b, x, dt)
				if i < 3 {
					e, _ := fns.New(cudnn.Engine)
					fns.Descriptors(x, cudnn.ConfigEngine, []cudnn.Descriptor{e})
					n, _ := fns.Notes(e)
					idx, _ := fns.Int(e, cudnn.EngineIndex)
					t.Logf("   accepts %v %v notes %v engine %d", ok, err, n, idx)
				}
			}
		}
		plan, n, err := p.search(g, dt, 1<<40)
		t.Logf("%s: plan %v workspace %d, %v", name, plan != 0, n, err)
	}
	op := func(slot int, d dtype.DType, sh ...int) kernel.Operand {
		return kernel.Operand{Slot: slot, DType: d, Shape: sh, Stride: contiguous(sh)}
	}
	for _, dt := range []dtype.DType{dtype.BFloat16, dtype.Float32} {
		for dir := range 3 {
			sh := [][]int{{16, 64, 56, 56}, {128, 64, 3, 3}, {16, 128, 56, 56}}
			ins := [][2]int{{0, 1}, {2, 1}, {0, 2}}[dir]
			o := []int{2, 0, 1}[dir]
			for _, od := range []dtype.DType{dt, dtype.Float32} {
				l := &kernel.Library{Op: ir.Conv, Attr: ir.ConvAttr{Dir: ir.Direction(dir), Stride: []int{1, 1}, Low: []int{1, 1}, High: []int{1, 1}, Dilation: []int{1, 1}, Groups: 1},
					In: []kernel.Operand{op(0, dt, sh[ins[0]]...), op(1, dt, sh[ins[1]]...)}, Out: []kernel.Operand{op(2, od, sh[o]...)}}
				try(fmt.Sprint("conv ", dir, dt, " to ", od), dt, convolution(l, nil))
				if dt == dtype.Float32 {
					break
				}
			}
		}
	}
	const B, H, T, D = 2, 12, 1024, 64
	qkv := func(i int) kernel.Operand {
		return kernel.Operand{Slot: 0, DType: dtype.BFloat16, Offset: i * H * D, Shape: []int{B, H, T, D}, Stride: []int{T * 3 * H * D, D, 3 * H * D, 1}}
	}
	for _, causal := range []bool{false, true} {
		at := ir.Attention{Scale: 0.125, Causal: causal}
		l := &kernel.Library{Op: ir.Composite, Attr: &ir.Region{Name: "attention", Attr: at}, In: []kernel.Operand{qkv(0), qkv(1), qkv(2)},
			Out: []kernel.Operand{op(1, dtype.BFloat16, B, T, H, D), op(2, dtype.Float32, B, H, T)}}
		try(fmt.Sprint("attention ", causal), dtype.BFloat16, p.attention(l))
		l = &kernel.Library{Op: ir.Composite, Attr: &ir.Region{Name: "attention_grad", Attr: at}, In: []kernel.Operand{qkv(0), qkv(1), qkv(2), op(1, dtype.BFloat16, B, T, H, D), op(2, dtype.Float32, B, H, T), op(3, dtype.BFloat16, B, T, H, D)},
			Out: []kernel.Operand{op(4, dtype.BFloat16, B, T, 3*H*D)}}
		g := p.attention(l)
		if g.why != "" {
			t.Error(g.why)
			continue
		}
		try(fmt.Sprint("attention_grad ", causal), dtype.BFloat16, g)
		t.Logf("Workspace says %d", Workspace(card.Of(90), l))
	}
}
