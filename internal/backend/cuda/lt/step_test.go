package lt_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/backend/cuda/lt"
	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// backend has one device, whose products are the stand-in's.
type backend struct{ device *standin.Device }

func (*backend) Name() string { return "standin" }
func (*backend) Devices() ([]device.Info, error) {
	return []device.Info{{Name: "standin", Backend: "standin", Kind: device.Integrated, Total: 1 << 30, Free: -1}}, nil
}
func (b *backend) Open(string) (device.Device, error) { return b.device, nil }
func (*backend) Libraries() []device.Library          { return nil }

// Whole training steps by cuBLASLt's stand-in: the losses are the processor's, and of the
// products' epilogues, those of Linear layers with what follows, and of their gradients, are
// the library's in every precision.
func TestSteps(t *testing.T) {
	lib := standin.Open(t, "cublaslt")
	fns, err := cublaslt.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	p, err := lt.New(fns, lt.Options{Card: card.Of(90), ReLU: true})
	if err != nil {
		t.Fatal(err)
	}
	var sums map[*kernel.Library]*lt.Sum
	done := make(map[cublaslt.Epilogue]int)
	device.Register(&backend{&standin.Device{
		Unread:  lt.Unread,
		Scratch: p.Workspace,
		Rest: func(program *kernel.Program) (rest *kernel.Program, err error) {
			rest, sums, err = p.Along(program)
			return rest, err
		},
		Plan: func(l *kernel.Library, unread bool) (standin.Routine, error) {
			lib.Clear()
			r, _, err := p.Plan(l, lt.Way{Unread: unread, Sum: sums[l]})
			if r == nil {
				return nil, err
			}
			done[epilogue(t, lib)]++
			return r, err
		},
	}})
	defer sinter.SetDevice("cpu")
	y := make([]int64, 64)
	x := sinter.Arange(sinter.Float32, 0, 64*48, 1).Reshape(64, 48).Sin()
	for i := range y {
		y[i] = int64(i * i % 10)
	}
	ids := make([]int64, 16*32)
	for i := range ids {
		ids[i] = int64((7*i*i + i) % 65)
	}
	for name, c := range map[string]struct {
		build func() (nn.Module, func() *sinter.Tensor)
		want  map[sinter.Precision]map[cublaslt.Epilogue]int // at least
	}{
		"mlp": {func() (nn.Module, func() *sinter.Tensor) {
			m := models.NewMLP(models.MLPConfig{Inputs: 48, Hidden: []int{64, 32}, Outputs: 10})
			return m, func() *sinter.Tensor { return nn.CrossEntropy(m.Forward(x), sinter.FromInts(y, 64)) }
		}, map[sinter.Precision]map[cublaslt.Epilogue]int{
			sinter.FP32: {cublaslt.ReLUBias: 2, cublaslt.Bias: 1, cublaslt.BGradB: 2},
			sinter.BF16: {cublaslt.ReLUBias: 2, cublaslt.Bias: 1, cublaslt.BGradB: 2},
		}},
		"gpt": {func() (nn.Module, func() *sinter.Tensor) {
			m := models.NewGPT(models.GPTConfig{Vocab: 65, Block: 32, Layers: 2, Heads: 2, Embed: 64})
			in := sinter.FromInts(ids, 16, 32)
			return m, func() *sinter.Tensor { return nn.SequenceCrossEntropy(m.Forward(in), in) }
		}, map[sinter.Precision]map[cublaslt.Epilogue]int{
			sinter.FP32: {cublaslt.Bias: 6, cublaslt.BGradB: 8}, // GELU is taken for 16 bits only
			sinter.BF16: {cublaslt.Bias: 6, cublaslt.GELUAuxBias: 2, cublaslt.DGELU: 2, cublaslt.BGradB: 8},
		}},
	} {
		for precision, want := range c.want {
			t.Run(fmt.Sprint(name, " ", precision), func(t *testing.T) {
				var losses [2][3]float64
				for i, device := range []string{"cpu", "standin"} {
					if err := sinter.SetDevice(device); err != nil {
						t.Fatal(err)
					}
					sinter.Seed(1)
					m, loss := c.build()
					opt := optim.New(m, optim.SGD{LR: optim.Constant(0.05)}, optim.Precision(precision))
					clear(done)
					for j := range losses[i] {
						l := loss()
						if err := opt.Step(l); err != nil {
							t.Fatal(err)
						}
						losses[i][j] = l.Float()
					}
				}
				t.Logf("epilogues: %v", done)
				for e, n := range want {
					if done[e] < n {
						t.Errorf("%d products have epilogue %d, want %d", done[e], e, n)
					}
				}
				for j, want := range losses[0] {
					within := 1e-5
					if precision != sinter.FP32 {
						within = 2e-3
					}
					if got := losses[1][j]; math.Abs(got-want) > within*want {
						t.Errorf("step %d: the loss is %v, on the processor %v", j, got, want)
					}
				}
			})
		}
	}
}

// epilogue is that of the product that was made last.
func epilogue(t *testing.T, lib *standin.Library) (e cublaslt.Epilogue) {
	t.Helper()
	for _, line := range lib.Record() {
		if hex, ok := strings.CutPrefix(line, "cublasLtMatmulDescSetAttribute 7="); ok {
			n, err := strconv.ParseUint(hex[2:4]+hex[:2], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			e = cublaslt.Epilogue(n)
		}
	}
	return e
}
