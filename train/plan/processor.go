package plan

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sinter-dl/sinter"
)

// Processor is what this machine's processor was measured to do.
//
// The ideal time of a kernel is a sum: launching it, its arithmetic and its traffic at the
// rates of Ideal. How far a kernel stays behind depends on what it is and on its shape. So
// a few small networks were trained, whose kernels are Samples; the ratio of a kernel
// that is asked for is that of the samples next to it, in the logarithms of what
// describes it.
type Processor struct {
	Version  int       `json:"version"` // of the networks measured
	Model    string    `json:"model"`
	Level    string    `json:"level"` // of instructions
	Threads  int       `json:"threads"`
	Measured time.Time `json:"measured"`
	Took     float64   `json:"took_seconds"`

	Ideal Rates   `json:"ideal"`
	Host  float64 `json:"host_seconds"` // of a step of train.Trainer, besides its kernels
	Gap   float64 `json:"gap_seconds"`  // from the end of a kernel to the beginning of the next
	// Usual is how much longer a step's kernels take as a rule than at least, as a factor. It
	// says as well how busy the machine was with something else; see Busy.
	Usual   float64  `json:"usual"`
	Samples []Sample `json:"samples"`

	once sync.Once
}

// Rates are of large kernels.
type Rates struct {
	FLOPs     float64 `json:"flops"`     // per second, of products in float32
	Work      float64 `json:"work"`      // additions per second of fused kernels
	Bandwidth float64 `json:"bandwidth"` // bytes per second
	Launch    float64 `json:"launch_seconds"`
}

// Sample is a kernel that was measured.
type Sample struct {
	Kind  string    `json:"kind"`
	Name  string    `json:"name"`
	At    []float64 `json:"at"`    // what describes it, see features
	Ratio float64   `json:"ratio"` // logarithm of its time by the ideal one

	operations []string
}

// String says what it was measured by.
func (p *Processor) String() string {
	busy := ""
	if p.Busy() {
		busy = ", which did something else meanwhile"
	}
	return fmt.Sprintf("a calibration of %s on %d threads (%s)%s", cmp.Or(p.Model, "this processor"), p.Threads, p.Measured.Format("2006-01-02"), busy)
}

// A factor above which Usual tells that the machine did something else while it was measured,
// and the most that is believed of it.
const (
	busyUsual = 1.3
	mostUsual = 1.15
)

// Busy tells whether the machine did something else while it was measured, so that another
// calibration may be a better one.
func (p *Processor) Busy() bool { return p.Usual > busyUsual }

// Stale tells whether it is worth while to calibrate again: the machine was busy, and that is an
// hour ago.
func (p *Processor) Stale() bool { return p.Busy() && time.Since(p.Measured) > time.Hour }

func (p *Processor) usual() float64 {
	return min(max(1, p.Usual), mostUsual)
}

// ideal is the time of a kernel at the rates of large ones.
func (r *Rates) ideal(k *sinter.KernelCost) float64 {
	return r.Launch + float64(k.FLOPs)/r.FLOPs + float64(k.Work)/r.Work + float64(k.Read+k.Written)/r.Bandwidth
}

// features describe a kernel among those of its kind: two kernels are a distance of 1 apart
// if they differ by a factor of two in one of them.
func features(k *sinter.KernelCost) []float64 {
	l := func(n int64) float64 { return math.Log2(float64(max(n, 1))) }
	i := func(n int) float64 { return l(int64(n)) }
	bytes := k.Read + k.Written
	switch {
	case k.Kind == "dot_general" || strings.HasPrefix(k.Kind, "attention"):
		return []float64{i(k.M), i(k.N), i(k.K), i(k.Batch), i(k.Data.Size())}
	case strings.HasPrefix(k.Kind, "conv"):
		return []float64{i(k.M), i(k.N) / 2, i(k.K) / 2, i(k.Taps), i(k.Plane), i(k.Batch), i(k.Data.Size())}
	case strings.HasPrefix(k.Kind, "reduce_window"):
		return []float64{l(bytes), i(k.Taps), i(k.Plane)}
	case k.Parts > 0:
		pitch := 0.0
		if k.Pitch > k.Data.Size() {
			pitch = 2
		}
		return []float64{l(bytes), l(k.Work) - l(bytes), i(k.Rows) / 2, i(k.Width), i(k.Parts) / 2, pitch}
	}
	return []float64{l(bytes), i(k.Rows) / 2, i(k.Width)}
}

// stem is the name of a kernel without what does not change its time.
func stem(name string) string { return strings.TrimPrefix(name, "again ") }

// A kernel of entirely other operations counts as this much further away, in squares; of a
// product what follows it matters little.
const (
	otherFused   = 12
	otherProduct = 0.5
)

// unlike is the share of the operations of two kernels that only one of them has.
func unlike(a, b []string) float64 {
	both := 0
	for _, op := range a {
		if slices.Contains(b, op) {
			both++
		}
	}
	return 1 - 2*float64(both)/float64(max(1, len(a)+len(b)))
}

// operations are the different ones in a kernel's name, in order.
func operations(name string) []string {
	list := strings.Split(name, "+")
	slices.Sort(list)
	return slices.Compact(list)
}

// ratio is that of a kernel's samples. Those that are near count, with the square of their
// nearness.
func (p *Processor) ratio(kind, name string, at []float64) float64 {
	p.once.Do(func() {
		for i := range p.Samples {
			p.Samples[i].operations = operations(p.Samples[i].Name)
		}
	})
	type near struct{ distance, ratio float64 }
	var found []near
	penalty := float64(otherFused)
	if kind == "dot_general" || strings.HasPrefix(kind, "conv") {
		penalty = otherProduct
	}
	ops := operations(name)
	for i := range p.Samples {
		s := &p.Samples[i]
		if s.Kind != kind || len(s.At) != len(at) {
			continue
		}
		d := 0.0
		for j := range at {
			d += (s.At[j] - at[j]) * (s.At[j] - at[j])
		}
		if s.Name != name {
			d += penalty * (0.1 + 0.9*unlike(s.operations, ops))
		}
		found = append(found, near{d, s.Ratio})
	}
	if len(found) == 0 {
		return 0
	}
	slices.SortFunc(found, func(a, b near) int { return cmp.Compare(a.distance, b.distance) })
	sum, weights := 0.0, 0.0
	for _, n := range found[:min(4, len(found))] {
		w := 1 / ((n.distance + 0.1) * (n.distance + 0.1))
		sum += w * n.ratio
		weights += w
	}
	return sum / weights
}

// kernel is the seconds that a kernel takes.
func (p *Processor) kernel(k *sinter.KernelCost) float64 {
	return p.usual() * p.least(k)
}

// least is the least that it takes.
func (p *Processor) least(k *sinter.KernelCost) float64 {
	return p.Ideal.ideal(k) * math.Exp(p.ratio(k.Kind, stem(k.Name), features(k)))
}

// Time is that of a program's kernels, by what they do.
func (p *Processor) Time(costs []sinter.KernelCost) Time {
	var sum Time
	for i := 0; i < len(costs); {
		if costs[i].Times == 1 {
			sum.add(p.split(&costs[i], p.kernel(&costs[i])), 1)
			sum.Launch += p.Gap
			i++
			continue
		}
		// The body of a Scan is one kernel of the program.
		from := i
		var body Time
		for ; i < len(costs) && costs[i].Step == costs[from].Step; i++ {
			body.add(p.split(&costs[i], p.kernel(&costs[i])), float64(costs[i].Times))
		}
		sum.add(body, math.Exp(p.ratio("scan", "", scanFeatures(body.Sum(), costs[from].Times))))
		sum.Launch += p.Gap
	}
	return sum
}

func scanFeatures(seconds float64, steps int64) []float64 {
	return []float64{math.Log2(seconds / float64(max(1, steps)) * 1e6)}
}

// split divides a time by what the kernel waits for.
func (p *Processor) split(k *sinter.KernelCost, seconds float64) Time {
	launch := min(p.Ideal.Launch, seconds)
	compute := float64(k.FLOPs)/p.Ideal.FLOPs + float64(k.Work)/p.Ideal.Work
	memory := float64(k.Read+k.Written) / p.Ideal.Bandwidth
	t := Time{Launch: launch}
	if rest := seconds - launch; compute+memory > 0 {
		t.Compute = rest * compute / (compute + memory)
		t.Memory = rest - t.Compute
	}
	return t
}

// share is the part of the machine's threads that compute.
func (p *Processor) share() float64 {
	return min(1, float64(p.Threads)/float64(max(1, runtime.NumCPU())))
}
