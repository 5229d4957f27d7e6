package plan

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
)

// images is a dataset of blank images.
func images(t *testing.T, n int) data.Dataset {
	t.Helper()
	x, y := make([]float32, n*8*8), make([]int64, n)
	set, err := data.Arrays(data.Floats("x", x, 1, 8, 8), data.Ints("y", y))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func planner(t *testing.T, tr *train.Trainer, n, test int) *Planner {
	t.Helper()
	if tr.Loss == nil {
		tr.Loss = nn.CrossEntropy
	}
	tr.Compile = true
	var held data.Dataset
	if test > 0 {
		held = images(t, test)
	}
	p, err := New(tr, models.NewMLP(models.MLPConfig{Inputs: 64, Hidden: []int{128}, Outputs: 10}), images(t, n), held)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func card(t *testing.T, name string) Device {
	t.Helper()
	list, err := Devices(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance*math.Abs(want) {
		t.Errorf("%s is %g, expected %g", what, got, want)
	}
}

// What products, convolutions and attention calculate, by hand.
func TestCosts(t *testing.T) {
	costs := func(f func(in []*sinter.Tensor) *sinter.Tensor, shapes ...[]int) map[string]sinter.KernelCost {
		var in []*sinter.Tensor
		for _, s := range shapes {
			in = append(in, sinter.Zeros(sinter.Float32, s...))
		}
		c := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{f(in)} })
		p, err := c.Plan(in...)
		if err != nil {
			t.Fatal(err)
		}
		m := make(map[string]sinter.KernelCost)
		for _, k := range p.Costs {
			m[k.Kind] = k
		}
		return m
	}
	k := costs(func(in []*sinter.Tensor) *sinter.Tensor { return in[0].MatMul(in[1]) }, []int{32, 48}, []int{48, 20})["dot_general"]
	if k.FLOPs != 2*32*48*20 || k.M != 32 || k.K != 48 || k.N != 20 || k.Batch != 1 || k.Read != 4*(32*48+48*20) || k.Written != 4*32*20 || k.Times != 1 {
		t.Errorf("a product: %+v", k)
	}
	conv := nn.NewConv2D(6, 10, 3, nn.Padding(1), nn.NoBias())
	k = costs(func(in []*sinter.Tensor) *sinter.Tensor { return conv.Forward(in[0]) }, []int{4, 6, 12, 12})["conv"]
	if k.FLOPs != 2*4*10*12*12*6*9 || k.M != 10 || k.N != 4*12*12 || k.K != 6*9 || k.Taps != 9 || k.Plane != 144 {
		t.Errorf("a convolution: %+v", k)
	}
	q := []int{2, 3, 16, 8}
	k = costs(func(in []*sinter.Tensor) *sinter.Tensor {
		return sinter.Attention(in[0], in[1], in[2], nil, true, 1)
	}, q, q, q)["attention"]
	if k.FLOPs != 2*2*3*16*16*(8+8)/2 || k.Batch != 6 || k.M != 16 || k.K != 8 {
		t.Errorf("causal attention: %+v", k)
	}
}

// The roofline, by hand: a large product on an H100 is bound by arithmetic, a copy by memory.
func TestRoofline(t *testing.T) {
	h := card(t, "h100-sxm").Card
	const n = 8192
	product := sinter.KernelCost{Kind: "dot_general", Data: sinter.BFloat16, Times: 1, FLOPs: 2 * n * n * n, Batch: 1, M: n, N: n, K: n, Read: 4 * n * n, Written: 4 * n * n}
	tiles := float64(n / productTile * n / productTile)
	rounds := math.Ceil(tiles / float64(h.Units))
	want := 2.0 * n * n * n / (h.Peak["bf16"] * productShare * tiles / (rounds * float64(h.Units)) * n / (n + productDepth))
	got := roofline(h, []sinter.KernelCost{product}, 1)
	near(t, "a product", got.Compute, want, 1e-9)
	near(t, "its launch", got.Launch, launchSeconds, 1e-9)
	if got.Memory != 0 {
		t.Errorf("a large product waits for memory: %+v", got)
	}
	copied := sinter.KernelCost{Kind: "loop", Data: sinter.Float32, Times: 3, Read: 1 << 30, Written: 1 << 30, Parts: 1}
	near(t, "three copies", roofline(h, []sinter.KernelCost{copied}, 3).Memory, 3*((2<<30)/(h.Bandwidth*bandwidthShare)+latencySeconds), 1e-9)
	// What a card lacks is calculated on its ordinary units.
	v := card(t, "v100-16gb").Card
	if rate, wide := productRate(v, "bfloat16"); rate != v.Peak["fp32"] || !wide {
		t.Errorf("bfloat16 on a V100 at %g, wide %v", rate, wide)
	}
	if rate, wide := productRate(v, "float16"); rate != v.Peak["fp16"] || wide {
		t.Errorf("float16 on a V100 at %g, wide %v", rate, wide)
	}
	// Products of float32 that may be rounded are faster where there are units for them.
	product.Data, product.TF32 = sinter.Float32, true
	got = roofline(h, []sinter.KernelCost{product}, 1)
	near(t, "a product in TF32", got.Compute, want*h.Peak["bf16"]/h.Peak["tf32"], 1e-9)
	fast, slow := product, product
	slow.TF32 = false
	if a, b := roofline(v, []sinter.KernelCost{fast}, 1), roofline(v, []sinter.KernelCost{slow}, 1); a != b {
		t.Errorf("TF32 on a V100 takes %+v, float32 %+v", a, b)
	}
	amd := card(t, "rx-6800-xt").Card
	if rate, _ := productRate(amd, "float16"); rate != amd.Peak["fp32"] {
		t.Errorf("float16 by OpenCL at %g", rate)
	}
}

func TestComputedPrecision(t *testing.T) {
	for _, c := range []struct {
		device string
		asked  sinter.Precision
		want   string
		note   string
	}{
		{"v100-16gb", sinter.BF16, "bf16 in fp32", "it has units for fp16"},
		{"v100-16gb", sinter.FP16, "fp16", ""},
		{"a100-80gb", sinter.BF16, "bf16", ""},
		{"a100-80gb", sinter.TF32, "tf32", ""},
		{"v100-16gb", sinter.TF32, "fp32", "tf32 is computed in fp32"},
		{"rx-6800-xt", sinter.TF32, "fp32", "tf32 is computed in fp32"},
		{"rx-6800-xt", sinter.FP16, "fp16 in fp32", "OpenCL reaches no matrix units"},
		{"h200", sinter.FP32, "fp32", ""},
	} {
		d := card(t, c.device)
		on, err := d.target()
		if err != nil {
			t.Fatal(err)
		}
		got, notes := computed(d, on, c.asked)
		if got != c.want || !strings.Contains(strings.Join(notes, "; "), c.note) || (c.note == "") != (len(notes) == 0) {
			t.Errorf("%s, %v: %q %q", c.device, c.asked, got, notes)
		}
	}
}

// The largest batch fits, and one example more does not.
func TestLargest(t *testing.T) {
	p := planner(t, &train.Trainer{Batch: 16}, 100_000, 0)
	d := card(t, "rtx-3080")
	small := *d.Card
	for _, memory := range []int64{driverCUDA + 8<<20, driverCUDA + 40<<20 + 123} {
		small.Memory = memory
		d.Card = &small
		n, m, err := p.Largest(d, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		on, _ := d.target()
		more, err := p.steps.Plan(on, n+1)
		if err != nil {
			t.Fatal(err)
		}
		if over := d.memory(&more); n < 16 || !m.Fits() || over.Fits() {
			t.Errorf("with %d bytes: %d examples take %d, one more %d", memory, n, m.Total, over.Total)
		}
	}
	small.Memory = 1 << 20
	if n, _, err := p.Largest(d, 100_000); n != 0 || err != nil {
		t.Errorf("in one MiB: %d, %v", n, err)
	}
	if n, _, err := p.Largest(card(t, "h200"), 500); n != 500 || err != nil {
		t.Errorf("with 500 examples: %d, %v", n, err)
	}
}

// Memory grows with the batch, and its parts add up.
func TestForecastMemory(t *testing.T) {
	p := planner(t, &train.Trainer{Batch: 32, Metrics: []metric.Metric{metric.Accuracy()}}, 1000, 100)
	list, err := Devices(All, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		f, err := p.Forecast(d, 0, Terms{})
		if err != nil {
			t.Fatal(err)
		}
		m := f.Memory
		if m.Total != m.Weights+m.Optimizer+m.Sums+m.Arena+m.Batches+m.Results+m.Driver || m.Gradients+m.Activations+m.Workspace > m.Arena {
			t.Errorf("%s: the parts do not add up: %+v", d.Key, m)
		}
		if m.Weights != 4*(64*128+128+128*10+10) || m.Optimizer < 2*m.Weights {
			t.Errorf("%s: %+v", d.Key, m)
		}
		if d.Card != nil && (f.Step <= 0 || f.Watts < d.Card.Idle || f.Watts > d.Card.Power || !f.Estimated) {
			t.Errorf("%s: %+v", d.Key, f)
		}
		if d.Card == nil && f.Step != 0 {
			t.Errorf("a time without a calibration: %v", f.Step)
		}
		more, err := p.Forecast(d, 64, Terms{})
		if err != nil || more.Memory.Arena <= m.Arena {
			t.Errorf("%s: %d with twice the batch, after %d, %v", d.Key, more.Memory.Arena, m.Arena, err)
		}
	}
	// Together they are the same.
	all, err := p.ForecastAll(list, 0, Terms{})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range all {
		one, err := p.Forecast(list[i], 0, Terms{})
		if err != nil || one.Memory != f.Memory || one.Step != f.Step {
			t.Errorf("%s: %+v, by itself %+v, %v", f.Device, f, one, err)
		}
	}
}

// How often a run does what is what it then does.
func TestCounts(t *testing.T) {
	for _, tr := range []train.Trainer{
		{Batch: 16, Epochs: 3},
		{Batch: 16, Steps: 10, EvalEvery: 4},
		{Batch: 7, Epochs: 2, EvalEvery: 3, Accumulate: 2},
		{Batch: 16, Epochs: 2, StepsPerEpoch: 3},
	} {
		p := planner(t, &tr, 100, 20)
		c := p.steps.Counts(p.set, 0)
		clock := &clock{}
		tr.Callbacks = []train.Callback{clock}
		r, err := tr.Fit(t.Context(), models.NewMLP(models.MLPConfig{Inputs: 64, Outputs: 10}), images(t, 100), images(t, 20))
		if err != nil {
			t.Fatal(err)
		}
		if c.Steps != r.Steps || c.Samples != r.Samples || c.Evaluations != len(r.History) {
			t.Errorf("%+v: planned %+v, it was %d steps, %d samples, %d evaluations", tr, c, r.Steps, r.Samples, len(r.History))
		}
	}
}

// Energy, carbon and cost, by hand.
func TestPrice(t *testing.T) {
	p := planner(t, &train.Trainer{Batch: 32, Epochs: 4}, 1000, 0)
	usd := func(v float64) power.Money { return power.Money{Amount: v, Currency: "USD"} }
	terms := Terms{
		Rates: power.Rates{Region: power.Region{Code: "X", Carbon: 100}, PUE: 1.5, Tariff: power.Tariff{PerKWh: usd(0.3)}},
		Prices: &power.Prices{Offers: []power.Offer{
			{Device: "a100-80gb", Count: 1, Provider: "one", Hourly: usd(4)},
			{Device: "a100-80gb", Count: 8, Provider: "eight", Hourly: usd(24)},
		}},
	}
	f, err := p.Forecast(card(t, "a100-80gb"), 0, terms)
	if err != nil {
		t.Fatal(err)
	}
	kWh := f.Watts * f.Seconds / 3.6e6
	near(t, "seconds", f.Seconds, 1000./32*4*f.Step, 1e-9)
	near(t, "energy", f.Usage.Joules, f.Watts*f.Seconds, 1e-9)
	near(t, "carbon", f.Usage.Grams, kWh*1.5*100, 1e-6)
	near(t, "cost", f.Usage.Cost.Amount, f.Seconds/3600*3, 1e-3) // rented, so that electricity is paid for
	if f.Offer == nil || f.Offer.Provider != "eight" || !f.Usage.Estimated {
		t.Errorf("%+v, %+v", f.Offer, f.Usage)
	}
	f, err = p.Forecast(card(t, "h200"), 0, terms)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "cost", f.Usage.Cost.Amount, f.Watts*f.Seconds/3.6e6*1.5*0.3, 1e-6)
}

func TestChoose(t *testing.T) {
	f := func(name string, seconds, usd float64, fits bool) *Forecast {
		f := &Forecast{Device: name, Seconds: seconds, Fits: fits}
		if usd > 0 {
			f.Usage.Cost = power.Money{Amount: usd, Currency: "USD"}
		}
		f.Usage.Seconds = seconds
		return f
	}
	list := func() []*Forecast {
		return []*Forecast{f("slow", 7200, 1, true), f("middle", 3600, 2, true), f("fast", 600, 5, true), f("tiny", 60, 0.1, false), f("own", 1200, 0, true)}
	}
	money := func(v float64, currency string) power.Budget {
		return power.Budget{Money: &power.Money{Amount: v, Currency: currency}}
	}
	for _, c := range []struct {
		limits Limits
		want   string // the cheapest
		says   string
	}{
		{Limits{}, "slow", "cheapest: slow"},
		{Limits{Deadline: 90 * time.Minute}, "middle", "under a deadline of 1 h 30 min"},
		{Limits{Deadline: 20 * time.Minute}, "fast", "cheapest"},
		{Limits{Deadline: time.Minute}, "", "nothing finishes under a deadline of 1 min 0 s; the fastest is fast, in 10 min 0 s for 5.00 USD"},
		{Limits{Deadline: 90 * time.Minute, Budget: money(3, "USD")}, "middle", "within 3.00 USD"},
		{Limits{Deadline: 30 * time.Minute, Budget: money(3, "USD")}, "", "fastest: fast"}, // own has no price
		{Limits{Budget: power.Budget{Time: 2 * time.Hour}}, "slow", "cheapest"},
	} {
		choice, err := Choose(list(), c.limits)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if choice.Cheapest != nil {
			got = choice.Cheapest.Device
		}
		if got != c.want || !strings.Contains(choice.Verdict, c.says) {
			t.Errorf("%+v: %q, %q", c.limits, got, choice.Verdict)
		}
	}
	var currency *power.CurrencyError
	if _, err := Choose(list(), Limits{Budget: money(5, "EUR")}); !errors.As(err, &currency) {
		t.Errorf("a budget in another currency: %v", err)
	}
	if c, err := Choose([]*Forecast{f("tiny", 60, 1, false)}, Limits{}); err != nil || c.Verdict != "none of these devices holds the run" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestDevices(t *testing.T) {
	list, err := Devices(All, nil)
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	for _, d := range list {
		have[d.Key] = true
	}
	for _, want := range strings.Fields("cpu v100-16gb rtx-3080 rtx-4090 a100-40gb a100-80gb a100-80gb/1g.10gb h100-sxm h200 b200 rx-6800-xt") {
		if !have[want] {
			t.Errorf("there is no %s among all devices", want)
		}
	}
	var unknown *hardware.UnknownError
	if _, err := Devices("rtx-4009", nil); !errors.As(err, &unknown) || unknown.Nearest[0] != "rtx-4090" {
		t.Errorf("%v", err)
	}
	if _, err := Devices("a100-80gb/9g.10gb", nil); !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
	p := planner(t, &train.Trainer{Batch: 32}, 1000, 0)
	f, err := p.Forecast(card(t, "a100-80gb"), 0, Terms{})
	if err != nil || len(f.Slices) == 0 || f.Slices[0].Profile != "1g.10gb" || f.Slices[0].Jobs != 7 {
		t.Errorf("%+v, %v", f.Slices, err)
	}
}

// A calibration that is read back tells the same, and is only for the processor and the
// threads that it was made on.
func TestCalibrationFile(t *testing.T) {
	t.Setenv("SINTER_CALIBRATION", t.TempDir())
	if _, err := Cached(); !errors.Is(err, ErrUncalibrated) {
		t.Fatalf("%v", err)
	}
	p, err := describe()
	if err != nil {
		t.Fatal(err)
	}
	k := sinter.KernelCost{Kind: "dot_general", Name: "dot_general+add", Data: sinter.Float32, Times: 1, FLOPs: 2 << 20, Read: 1 << 14, Written: 1 << 12, Batch: 1, M: 64, N: 64, K: 256}
	p.Ideal, p.Usual, p.Measured = Rates{FLOPs: 1e11, Work: 1e10, Bandwidth: 1e10, Launch: 1e-6}, 1, time.Now()
	p.Samples = []Sample{{Kind: k.Kind, Name: k.Name, At: features(&k), Ratio: math.Log(2)}, {Kind: "loop", Name: "add", At: []float64{1, 2, 3, 4, 5, 6}, Ratio: 1}}
	// A kernel that was measured takes what it took; ideal is launch, arithmetic and traffic.
	ideal := 1e-6 + (2<<20)/1e11 + (1<<14+1<<12)/1e10
	near(t, "a kernel", p.Time([]sinter.KernelCost{k}).Sum(), 2*ideal, 1e-9)
	p.save()
	back, err := Cached()
	if err != nil {
		t.Fatal(err)
	}
	near(t, "a kernel", back.Time([]sinter.KernelCost{k}).Sum(), 2*ideal, 1e-9)
	if before := sinter.Threads(); before > 1 {
		sinter.SetThreads(before - 1)
		_, err = Cached()
		sinter.SetThreads(before)
		if !errors.Is(err, ErrUncalibrated) {
			t.Errorf("on other threads: %v", err)
		}
	}
	file, err := p.file()
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{"", "{", `{"version": 1}`, "[]"} {
		if err := os.WriteFile(file, []byte(damage), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Cached(); !errors.Is(err, ErrUncalibrated) {
			t.Errorf("a file %q: %v", damage, err)
		}
	}
}

// A network that is measured gives a sample for each of its kernels, with times that add up
// to no more than the steps took.
func TestSubject(t *testing.T) {
	for _, i := range []int{1, len(subjects()) - 1} {
		s := subjects()[i]
		begin := time.Now()
		if err := s.measure(); err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, r := range s.runs {
			if r.seconds <= 0 || len(r.costs) == 0 || math.IsInf(r.seconds, 0) {
				t.Errorf("%s: %+v", s.name, r)
			}
			sum += r.seconds
		}
		if len(s.runs) < 8 || sum > time.Since(begin).Seconds() || s.usual() < 1 {
			t.Errorf("%s: %d kernels, %g s, usually %g", s.name, len(s.runs), sum, s.usual())
		}
	}
}

func TestForecastJSON(t *testing.T) {
	p := planner(t, &train.Trainer{Batch: 32, Epochs: 1}, 1000, 0)
	f, err := p.Forecast(card(t, "h200"), 0, Terms{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"device", "computed", "batch", "seconds_per_step", "seconds", "steps", "samples", "watts", "usage", "estimated", "basis", "largest_batch"} {
		if !strings.Contains(string(text), `"`+key+`":`) {
			t.Errorf("there is no %s in %s", key, text)
		}
	}
}
