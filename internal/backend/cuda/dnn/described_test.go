package dnn

import (
	"fmt"
	"os"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// described is a card as cuDNN writes one down: capability, multiprocessors, bytes of
// shared memory of a block, of the second-level cache.
func described(capability, units, shared, cache int) string {
	return fmt.Sprintf(`{"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,
"multiProcessorCount":%d,"smCountOrigin":0,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":%d,
"oversizedSharedMemoryPerBlock":0,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":32,
"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,"totalGlobalMem":84987740160,
"smClockRateKHz":1980000,"memClockRateKHz":2619000,"memoryBusWidth":5120,"l2CacheSize":%d,"cudaDeviceId":0,"deviceVer":%d,
"driverVer":12090,"deviceName":"described"}`, units, shared, cache, 10*capability)
}

// The real cuDNN, where it is installed, makes plans for cards that are described to it:
// the graphs are ones that it has engines for, and the plans fit into the workspace.
// (From version 9.8 on it needs no card for that.)
func TestDescribedCards(t *testing.T) {
	libs := find.Search(find.Want{})
	opened := libs.Library(find.CuDNN)
	testenv.Require(t, "cudnn", opened.Usable(), "cuDNN is not installed")
	standin.NoDriver(t)
	lib, err := libs.Open(find.CuDNN)
	testenv.Require(t, "cudnn", err == nil, fmt.Sprint(err))
	fns, err := cudnn.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Require(t, "cudnn", fns.Version() >= 90800, fmt.Sprintf("cuDNN %d takes no described cards", fns.Version()))
	long := os.Getenv("SINTER_STRESS") != ""
	for _, c := range []struct {
		arch, units, shared, cache int
	}{{90, 132, 232448, 50 << 20}, {80, 108, 166912, 40 << 20}} {
		if c.arch != 90 && !long {
			continue
		}
		d, err := fns.New(cudnn.DeviceProperties)
		if err != nil {
			t.Fatal(err)
		}
		if err := fns.Set(d, cudnn.DevicePropertiesJSON, described(c.arch, c.units, c.shared, c.cache)); err != nil {
			t.Fatal(err)
		}
		if err := fns.Finalize(d); err != nil {
			t.Fatal(err)
		}
		p := &Planner{Options: Options{Card: card.Of(c.arch)}, lib: fns, version: fns.Version(), refused: make(map[string]string), properties: d}
		for _, l := range samples(long) {
			l.Scratch = 9
			r, why, err := p.Plan(l, false, false)
			if err != nil {
				t.Errorf("sm_%d, %s: %v", c.arch, l.Name, err)
				continue
			}
			if r == nil {
				// Operands of 16 bits with a result of 32 are no engine's everywhere.
				if t.Logf("sm_%d, %s: %s", c.arch, l.Name, why); l.Op == ir.Composite || l.In[0].DType == l.Out[0].DType {
					t.Fail()
				}
				continue
			}
			n, _ := fns.Int(r.plan, cudnn.PlanWorkspace)
			t.Logf("sm_%d, %s: %d bytes of workspace, of %d", c.arch, l.Name, n, p.Workspace(l))
			r.Close()
		}
		if err := fns.Free(d); err != nil {
			t.Error(err)
		}
	}
}

// samples are convolutions and the causal attention of a GPT-2, forward and backward; more
// of them if long: others of a ResNet-50, and some that are not of the usual form.
func samples(long bool) (list []*kernel.Library) {
	for _, c := range []struct {
		x, w             []int
		stride, low, hig []int
		groups           int
	}{
		{[]int{32, 64, 56, 56}, []int{64, 64, 3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}, 1},
		{[]int{32, 3, 224, 224}, []int{64, 3, 7, 7}, []int{2, 2}, []int{3, 3}, []int{3, 3}, 1},
		{[]int{32, 256, 56, 56}, []int{128, 256, 1, 1}, []int{2, 2}, []int{0, 0}, []int{0, 0}, 1},
		{[]int{8, 32, 1, 100}, []int{32, 1, 1, 5}, []int{1, 1}, []int{0, 2}, []int{0, 2}, 32},
		{[]int{8, 16, 20, 20, 20}, []int{32, 16, 3, 3, 3}, []int{1, 1, 1}, []int{1, 1, 1}, []int{1, 1, 1}, 1},
	} {
		if len(list) > 0 && !long {
			break
		}
		y := []int{c.x[0], c.w[0]}
		ones := make([]int, len(c.stride))
		for i := range c.stride {
			ones[i] = 1
			y = append(y, (c.x[i+2]+c.low[i]+c.hig[i]-c.w[i+2])/c.stride[i]+1)
		}
		for dir, sh := range [][3][]int{{c.x, c.w, y}, {y, c.w, c.x}, {c.x, y, c.w}} {
			for _, d := range [][2]dtype.DType{{dtype.BFloat16, dtype.BFloat16}, {dtype.Float32, dtype.Float32}, {dtype.BFloat16, dtype.Float32}} {
				if d[0] != d[1] && !long {
					continue
				}
				list = append(list, &kernel.Library{
					Name: fmt.Sprintf("%v by %v, direction %d, %v to %v", c.x, c.w, dir, d[0], d[1]), Op: ir.Conv,
					Attr: ir.ConvAttr{Dir: ir.Direction(dir), Stride: c.stride, Low: c.low, High: c.hig, Dilation: ones, Groups: c.groups},
					In:   []kernel.Operand{operand(0, d[0], sh[0]...), operand(1, d[0], sh[1]...)},
					Out:  []kernel.Operand{operand(2, d[1], sh[2]...)},
				})
			}
		}
	}
	const b, h, n, d = 16, 12, 1024, 64
	qkv := func(i int) kernel.Operand {
		return kernel.Operand{DType: dtype.BFloat16, Offset: i * h * d, Shape: []int{b, h, n, d}, Stride: []int{n * 3 * h * d, d, 3 * h * d, 1}}
	}
	in := []kernel.Operand{qkv(0), qkv(1), qkv(2)}
	y, sum := operand(1, dtype.BFloat16, b, n, h, d), operand(2, dtype.Float32, b, h, n)
	for _, causal := range []bool{true, false} {
		if !causal && !long {
			continue
		}
		a := ir.Attention{Scale: 0.125, Causal: causal}
		list = append(list,
			&kernel.Library{Name: fmt.Sprintf("attention, causal %v", causal), Op: ir.Composite, Attr: &ir.Region{Name: "attention", Attr: a}, In: in, Out: []kernel.Operand{y, sum}},
			&kernel.Library{Name: fmt.Sprintf("attention_grad, causal %v", causal), Op: ir.Composite, Attr: &ir.Region{Name: "attention_grad", Attr: a},
				In: append(in[:3:3], y, sum, operand(3, dtype.BFloat16, b, n, h, d)), Out: []kernel.Operand{operand(4, dtype.BFloat16, b, n, 3*h*d)}})
	}
	return list
}
