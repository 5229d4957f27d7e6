package dnn_test

import (
	"math"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/backend/cuda/dnn"
	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// backend has one device, whose attention is the stand-in's.
type backend struct{ device *standin.Device }

func (*backend) Name() string { return "standin" }
func (*backend) Devices() ([]device.Info, error) {
	return []device.Info{{Name: "standin", Backend: "standin", Kind: device.Integrated, Total: 1 << 30, Free: -1}}, nil
}
func (b *backend) Open(string) (device.Device, error) { return b.device, nil }
func (*backend) Libraries() []device.Library          { return nil }

// Training steps of a GPT: in 16 bits the attention of both layers is cuDNN's in both
// directions, in float32 none is; losses are the processor's, whose attention is of float32.
func TestSteps(t *testing.T) {
	lib := standin.Open(t, "cudnn")
	fns, err := cudnn.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	p, err := dnn.New(fns, dnn.Options{Card: card.Of(90)})
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	var refused []string
	device.Register(&backend{&standin.Device{
		Scratch: p.Workspace,
		Plan: func(l *kernel.Library, unread bool) (standin.Routine, error) {
			if l.Op != ir.Composite {
				return nil, nil
			}
			r, why, err := p.Plan(l, unread, false)
			if r == nil {
				refused = append(refused, why)
				return nil, err
			}
			taken++
			return r, err
		},
	}})
	defer sinter.SetDevice("cpu")
	ids := make([]int64, 4*32)
	for i := range ids {
		ids[i] = int64((7*i*i + i) % 65)
	}
	for _, c := range []struct {
		precision sinter.Precision
		options   []optim.Option
		taken     int
	}{
		{sinter.FP32, nil, 0},
		{sinter.BF16, nil, 4},
		{sinter.FP16, []optim.Option{optim.LossScaling(optim.GradScaler{})}, 4},
	} {
		var losses [2][4]float64
		for i, name := range []string{"cpu", "standin"} {
			if err := sinter.SetDevice(name); err != nil {
				t.Fatal(err)
			}
			sinter.Seed(1)
			taken, refused = 0, nil
			m := models.NewGPT(models.GPTConfig{Vocab: 65, Block: 32, Layers: 2, Heads: 2, Embed: 32})
			opt := optim.New(m, optim.SGD{LR: optim.Constant(0.5)}, append(c.options, optim.Precision(c.precision))...)
			in := sinter.FromInts(ids, 4, 32)
			for j := range losses[i] {
				loss := nn.SequenceCrossEntropy(m.Forward(in), in)
				if err := opt.Step(loss); err != nil {
					t.Fatal(err)
				}
				losses[i][j] = loss.Float()
			}
		}
		if taken != c.taken {
			t.Errorf("%v: %d of 4 are cuDNN's, expected %d: %q", c.precision, taken, c.taken, refused)
		}
		t.Log(c.precision, losses)
		for j, want := range losses[0] {
			within := 1e-5
			if c.precision != sinter.FP32 {
				within = 2e-3
			}
			if got := losses[1][j]; math.Abs(got-want) > within*want {
				t.Errorf("%v, step %d: the loss is %v, on the processor %v", c.precision, j, got, want)
			}
		}
		if losses[0][3] > losses[0][0]-0.1 {
			t.Errorf("%v: nothing is learnt: %v", c.precision, losses[0])
		}
	}
}
