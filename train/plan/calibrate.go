package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

// version changes with the networks that are measured, or with what is made of them.
const version = 1

// ErrUncalibrated is asking for a calibration that has not been made.
var ErrUncalibrated = errors.New("plan: this processor has not been calibrated")

// Cached is the calibration of this processor for the threads that are set, which an
// earlier Calibrate has left in the user's cache; else ErrUncalibrated.
func Cached() (*Processor, error) {
	key, err := describe()
	if err != nil {
		return nil, err
	}
	file, err := key.file()
	if err != nil {
		return nil, ErrUncalibrated
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, ErrUncalibrated
	}
	p := new(Processor)
	if json.Unmarshal(text, p) != nil || p.Version != version || p.Model != key.Model || p.Level != key.Level || p.Threads != key.Threads || len(p.Samples) == 0 {
		return nil, ErrUncalibrated
	}
	return p, nil
}

// describe is the processor without what is measured.
func describe() (*Processor, error) {
	for _, d := range sinter.Devices() {
		if d.Backend == CPU {
			return &Processor{Version: version, Model: d.Model, Level: d.Version, Threads: sinter.Threads()}, nil
		}
	}
	return nil, errors.New("plan: there is no processor to compute on")
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9]+`)

// file is where the calibration is kept. The environment variable SINTER_CALIBRATION is
// another folder than that in the user's cache.
func (p *Processor) file() (string, error) {
	dir := os.Getenv("SINTER_CALIBRATION")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "sinter", "calibration")
	}
	name := fmt.Sprintf("%s-%s-%d-v%d.json", strings.Trim(unfit.ReplaceAllString(p.Model, "-"), "-"), p.Level, p.Threads, p.Version)
	return filepath.Join(dir, name), nil
}

// save keeps it for Cached. A cache that cannot be written costs a calibration, and is no
// error.
func (p *Processor) save() {
	file, err := p.file()
	if err != nil {
		return
	}
	text, err := json.Marshal(p)
	if err != nil || os.MkdirAll(filepath.Dir(file), 0o755) != nil {
		return
	}
	part, err := os.CreateTemp(filepath.Dir(file), "calibration-*")
	if err != nil {
		return
	}
	_, err = part.Write(text)
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), file)
	}
	if err != nil {
		os.Remove(part.Name())
	}
}

// subject is a small network that is measured.
type subject struct {
	name  string
	make  func() (nn.Module, nn.Loss)
	rule  optim.Rule
	clip  float64
	batch [][]int // shapes of the inputs: of x in float32, or in int64 if it is a text's
	text  int     // number of tokens; 0: x is no text
	kinds int     // number of classes

	step *optim.CompiledStep
	runs []kernelRun // the least times of all rounds
	gap  float64
	took []float64 // by step, all kernels together
}

// usual is how much longer the kernels take as a rule than at least.
func (s *subject) usual() float64 {
	least := 0.0
	for _, r := range s.runs {
		least += r.seconds + s.gap
	}
	slices.Sort(s.took)
	return s.took[len(s.took)/2] / least
}

// subjects are networks whose kernels are like those of most others, in sizes that the
// caches hold and that they do not. None is a built-in recipe.
func subjects() []subject {
	adam, adamW := optim.Adam{LR: optim.Constant(1e-4)}, optim.AdamW{LR: optim.Constant(1e-4), WeightDecay: 0.1}
	sgd := optim.SGD{LR: optim.Constant(1e-4), Momentum: 0.9, Nesterov: true, WeightDecay: 1e-4}
	mlp := func(batch, in int, hidden []int, out int, act string, rule optim.Rule) subject {
		return subject{
			name: fmt.Sprintf("mlp %d×%d %v %s", batch, in, hidden, act), rule: rule, batch: [][]int{{batch, in}}, kinds: out,
			make: func() (nn.Module, nn.Loss) {
				return models.NewMLP(models.MLPConfig{Inputs: in, Hidden: hidden, Outputs: out, Activation: act}), nn.CrossEntropy
			},
		}
	}
	resnet := func(batch, channels, size int) subject {
		return subject{
			name: fmt.Sprintf("resnet %d of %d×%d×%d", batch, channels, size, size), rule: sgd, batch: [][]int{{batch, channels, size, size}}, kinds: 10,
			make: func() (nn.Module, nn.Loss) {
				return models.NewResNet(models.ResNetConfig{Depth: 8, Channels: channels, Classes: 10}), nn.CrossEntropy
			},
		}
	}
	convs := func(batch, channels, size int, layers ...nn.Module) subject {
		return subject{
			name: fmt.Sprintf("convolutions, %d of %d×%d×%d", batch, channels, size, size), rule: adam, batch: [][]int{{batch, channels, size, size}}, kinds: 10,
			make: func() (nn.Module, nn.Loss) {
				return nn.NewSequential(layers...), func(x, y *sinter.Tensor) *sinter.Tensor { return nn.CrossEntropy(x.Mean(2, 3), y) }
			},
		}
	}
	gpt := func(batch, block, width, layers, heads, vocab int) subject {
		return subject{
			name: fmt.Sprintf("transformer, %d of %d tokens, %d wide", batch, block, width), rule: adamW, clip: 1, batch: [][]int{{batch, block}}, text: vocab, kinds: vocab,
			make: func() (nn.Module, nn.Loss) {
				return models.NewGPT(models.GPTConfig{Vocab: vocab, Block: block, Layers: layers, Heads: heads, Embed: width}), nn.SequenceCrossEntropy
			},
		}
	}
	return []subject{
		mlp(64, 256, []int{96, 64}, 10, "relu", adam),
		mlp(32, 96, []int{128}, 40, "tanh", adam),
		mlp(160, 640, []int{384}, 64, "relu", adam),
		mlp(512, 128, []int{256, 256}, 24, "gelu", adamW),
		mlp(256, 1024, []int{1024}, 16, "silu", sgd),
		{
			name: "pooled convolutions", rule: adam, batch: [][]int{{48, 1, 32, 32}}, kinds: 10,
			make: func() (nn.Module, nn.Loss) {
				return newPooled(1, 32, 8, 20, 64, 10), nn.CrossEntropy
			},
		},
		{
			name: "pooled convolutions in colour", rule: sgd, batch: [][]int{{96, 3, 24, 24}}, kinds: 20,
			make: func() (nn.Module, nn.Loss) {
				return newPooled(3, 24, 6, 12, 96, 20), nn.CrossEntropy
			},
		},
		resnet(32, 3, 32),
		resnet(48, 3, 28),
		resnet(16, 3, 16),
		convs(8, 64, 14, nn.NewConv2D(64, 128, 1, nn.NoBias()), nn.NewBatchNorm2D(128), nn.Func(nn.ReLU), nn.NewConv2D(128, 128, 3, nn.Padding(1), nn.NoBias()), nn.NewBatchNorm2D(128), nn.Func(nn.ReLU), nn.NewConv2D(128, 10, 1)),
		convs(4, 3, 64, nn.NewConv2D(3, 32, 7, nn.Stride(2), nn.Padding(3)), nn.Func(nn.ReLU), nn.NewConv2D(32, 64, 3, nn.Stride(2), nn.Padding(1)), nn.Func(nn.ReLU), nn.NewConv2D(64, 10, 1)),
		gpt(16, 32, 96, 2, 3, 80),
		gpt(4, 128, 192, 1, 6, 200),
		{
			name: "lstm", rule: adam, clip: 1, batch: [][]int{{16, 24}}, text: 60, kinds: 60,
			make: func() (nn.Module, nn.Loss) {
				return models.NewLSTMModel(models.LSTMConfig{Vocab: 60, Embed: 96, Hidden: 96, Layers: 1}), nn.SequenceCrossEntropy
			},
		},
	}
}

// pooled is two convolutions, each with pooling, and two linear layers.
type pooled struct {
	Conv1, Conv2 *nn.Conv2D
	FC1, FC2     *nn.Linear
	pool         *nn.MaxPool2D
}

func newPooled(channels, size, first, second, units, classes int) *pooled {
	left := (size/2 - 4) / 2
	return &pooled{
		Conv1: nn.NewConv2D(channels, first, 5, nn.Padding(2)), Conv2: nn.NewConv2D(first, second, 5),
		FC1: nn.NewLinear(second*left*left, units), FC2: nn.NewLinear(units, classes), pool: nn.NewMaxPool2D(2),
	}
}

func (p *pooled) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = p.pool.Forward(nn.ReLU(p.Conv1.Forward(x)))
	x = p.pool.Forward(nn.ReLU(p.Conv2.Forward(x)))
	return p.FC2.Forward(nn.ReLU(p.FC1.Forward(x.Flatten(1))))
}

// How long a network is measured: in so many rounds, in each for so long, but at least and
// at most so many steps. The least time of each kernel counts, because what else the
// machine does only adds to it; between rounds it may do something else.
const (
	rounds       = 8
	measureTime  = 30 * time.Millisecond
	measureLeast = 2
	measureMost  = 40
)

// Calibrate measures this machine's processor with the threads that are set, in a few
// seconds, and keeps the result for Cached. The device in use has to be the processor.
// report, if it is not nil, is told what is measured next.
//
// Weights are drawn from the default generator, so what a program draws afterwards is
// something else than without.
func Calibrate(ctx context.Context, report func(what string)) (*Processor, error) {
	if name := sinter.DeviceName(); name != CPU {
		return nil, fmt.Errorf("plan: the processor is calibrated while it is the device in use, which is %s", name)
	}
	p, err := describe()
	if err != nil {
		return nil, err
	}
	if report == nil {
		report = func(string) {}
	}
	begin := time.Now()
	report("rates")
	if err := p.rates(); err != nil {
		return nil, fmt.Errorf("plan: calibrating: %w", err)
	}
	var gaps, usual []float64
	var scans []scan
	list := subjects()
	for range rounds {
		for i := range list {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			report(list[i].name)
			if err := list[i].measure(); err != nil {
				return nil, fmt.Errorf("plan: calibrating with %s: %w", list[i].name, err)
			}
		}
	}
	for i := range list {
		gaps, usual = append(gaps, list[i].gap), append(usual, list[i].usual())
		for _, r := range list[i].runs {
			if len(r.costs) == 1 && r.costs[0].Times == 1 {
				k := &r.costs[0]
				p.Samples = append(p.Samples, Sample{Kind: k.Kind, Name: stem(k.Name), At: features(k), Ratio: math.Log(r.seconds / p.Ideal.ideal(k))})
			} else {
				scans = append(scans, scan{r.costs, r.seconds})
			}
		}
	}
	slices.Sort(gaps)
	slices.Sort(usual)
	p.Gap, p.Usual = gaps[len(gaps)/2], usual[len(usual)/2]
	for _, s := range scans { // once their bodies' kernels are known
		body := 0.0
		for i := range s.costs {
			body += float64(s.costs[i].Times) * p.least(&s.costs[i])
		}
		if body > 0 {
			p.Samples = append(p.Samples, Sample{Kind: "scan", At: scanFeatures(body, s.costs[0].Times), Ratio: math.Log(s.seconds / body)})
		}
	}
	report("a trainer's loop")
	if p.Host, err = p.host(ctx); err != nil {
		return nil, fmt.Errorf("plan: calibrating: %w", err)
	}
	p.Measured, p.Took = time.Now(), time.Since(begin).Seconds()
	p.save()
	return p, nil
}

// scan is a Scan that was measured.
type scan struct {
	costs   []sinter.KernelCost
	seconds float64
}

// kernelRun is a kernel with its least time.
type kernelRun struct {
	costs   []sinter.KernelCost
	seconds float64
}

// watch has f run while kernels are measured; it returns those of the program that is
// longest, and the time from one kernel to the next.
func watch(f func() error) (runs []kernelRun, gap float64, took []float64, err error) {
	gap = math.Inf(1)
	stop, err := sinter.ProfileKernels(func(kernels []sinter.KernelRun) {
		if len(kernels) < len(runs) {
			return
		}
		if len(kernels) > len(runs) {
			runs, gap, took = make([]kernelRun, len(kernels)), math.Inf(1), nil
			for i := range kernels {
				runs[i] = kernelRun{kernels[i].Costs, math.Inf(1)}
			}
		}
		sum := 0.0
		for i := range kernels {
			seconds := kernels[i].End.Sub(kernels[i].Begin).Seconds()
			runs[i].seconds = min(runs[i].seconds, max(seconds, 1e-9))
			sum += seconds
		}
		all := kernels[len(kernels)-1].End.Sub(kernels[0].Begin).Seconds()
		gap = min(gap, max(0, all-sum)/float64(max(1, len(kernels)-1)))
		took = append(took, all)
	})
	if err != nil {
		return nil, 0, nil, err
	}
	err = f()
	stop()
	return runs, gap, took, err
}

// measure makes some steps more.
func (s *subject) measure() error {
	if s.step == nil {
		net, loss := s.make()
		var options []optim.Option
		if s.clip > 0 {
			options = append(options, optim.ClipNorm(s.clip))
		}
		o := optim.New(net, s.rule, options...)
		nn.Train(net)
		s.step = o.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
			y := net.Forward(in[0])
			return loss(y, in[1]), []*sinter.Tensor{y}
		})
	}
	x, y := s.inputs()
	runs, gap, took, err := watch(func() error {
		begin := time.Now()
		for i := 0; i < measureMost && (i < measureLeast || time.Since(begin) < measureTime); i++ {
			if _, _, err := s.step.Step(x, y); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.runs == nil {
		s.runs, s.gap = runs, gap
	}
	s.gap = min(s.gap, gap)
	s.took = append(s.took, took...)
	for i := range min(len(runs), len(s.runs)) {
		s.runs[i].seconds = min(s.runs[i].seconds, runs[i].seconds)
	}
	return nil
}

// inputs are a batch, the same every time.
func (s *subject) inputs() (x, y *sinter.Tensor) {
	shape := s.batch[0]
	n := 1
	for _, e := range shape {
		n *= e
	}
	labels := shape[:1]
	if s.text > 0 {
		labels = shape
		ids := make([]int64, n)
		for i := range ids {
			ids[i] = int64(i * 7 % s.text)
		}
		x = sinter.FromInts(ids, shape...)
	} else {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i*31%97)/97 - 0.5
		}
		x = sinter.FromFloats(values, shape...)
	}
	m := 1
	for _, e := range labels {
		m *= e
	}
	ids := make([]int64, m)
	for i := range ids {
		ids[i] = int64(i * 5 % s.kinds)
	}
	return x, sinter.FromInts(ids, labels...)
}

// rates measures what large kernels reach, and the smallest takes.
func (p *Processor) rates() error {
	a := sinter.Full(sinter.Float32, 0.5, 640, 640)
	v := sinter.Full(sinter.Float32, 0.5, 4<<20)
	w := sinter.Full(sinter.Float32, 0.5, 1<<16)
	one := sinter.Full(sinter.Float32, 0.5, 1)
	if err := sinter.Eval(a, v, w, one); err != nil {
		return err
	}
	least := func(f func(x *sinter.Tensor) *sinter.Tensor, x *sinter.Tensor, times int) (kernelRun, error) {
		c := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{f(in[0])} })
		runs, _, _, err := watch(func() error {
			var out []*sinter.Tensor
			for range times {
				var err error
				if out, err = c.CallInto(out, x); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil && len(runs) != 1 {
			err = fmt.Errorf("a kernel was expected, found %d", len(runs))
		}
		if err != nil {
			return kernelRun{}, err
		}
		return runs[0], nil
	}
	launch, err := least(func(x *sinter.Tensor) *sinter.Tensor { return x.AddScalar(1) }, one, 50)
	if err != nil {
		return err
	}
	product, err := least(func(x *sinter.Tensor) *sinter.Tensor { return x.MatMul(x) }, a, 12)
	if err != nil {
		return err
	}
	traffic, err := least(func(x *sinter.Tensor) *sinter.Tensor { return x.AddScalar(1) }, v, 12)
	if err != nil {
		return err
	}
	busy, err := least(func(x *sinter.Tensor) *sinter.Tensor { return x.Exp().AddScalar(1).Log().Tanh() }, w, 30)
	if err != nil {
		return err
	}
	k := func(r kernelRun) *sinter.KernelCost { return &r.costs[0] }
	p.Ideal = Rates{
		Launch:    launch.seconds,
		FLOPs:     float64(k(product).FLOPs) / product.seconds,
		Bandwidth: float64(k(traffic).Read+k(traffic).Written) / traffic.seconds,
		Work:      float64(k(busy).Work) / busy.seconds,
	}
	return nil
}

// host measures what a step of a Trainer takes besides its kernels, on a network that is
// nearly nothing.
func (p *Processor) host(ctx context.Context) (float64, error) {
	const steps, batch = 60, 16
	x, y := make([]float32, steps*batch*8), make([]int64, steps*batch)
	for i := range x {
		x[i] = float32(i%13) / 13
	}
	for i := range y {
		y[i] = int64(i % 4)
	}
	set, err := data.Arrays(data.Floats("x", x, 8), data.Ints("y", y))
	if err != nil {
		return 0, err
	}
	net := models.NewMLP(models.MLPConfig{Inputs: 8, Hidden: []int{8}, Outputs: 4})
	clock := &clock{}
	t := train.Trainer{Loss: nn.CrossEntropy, Steps: steps, Batch: batch, Compile: true, Callbacks: []train.Callback{clock}, Warn: func(string) {}}
	runs, _, _, err := watch(func() error {
		_, err := t.Fit(ctx, net, set, nil)
		return err
	})
	if err != nil {
		return 0, err
	}
	kernels := 0.0
	for _, r := range runs {
		kernels += r.seconds
	}
	slices.Sort(clock.steps)
	return max(0, clock.steps[len(clock.steps)/4]-kernels), nil
}

// clock takes the time of steps.
type clock struct {
	train.NopCallback
	last  time.Time
	steps []float64
}

func (c *clock) OnStep(*train.State) {
	now := time.Now()
	if !c.last.IsZero() {
		c.steps = append(c.steps, now.Sub(c.last).Seconds())
	}
	c.last = now
}
