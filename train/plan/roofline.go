package plan

import (
	"math"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/hardware"
)

// Time is how long kernels take, in seconds, by what they wait for.
type Time struct {
	Compute float64 `json:"compute_seconds"` // arithmetic
	Memory  float64 `json:"memory_seconds"`  // memory traffic
	Launch  float64 `json:"launch_seconds"`  // being started
}

// Sum is all of it.
func (t Time) Sum() float64 { return t.Compute + t.Memory + t.Launch }

func (t *Time) add(u Time, times float64) {
	t.Compute += times * u.Compute
	t.Memory += times * u.Memory
	t.Launch += times * u.Launch
}

// What a card reaches of its sheet. None of it was measured on the card that a forecast is
// for; where a figure comes from is said beside it, and docs/plan.md says it to users.
const (
	// Large products of 16 bits ran at 770 to 800 TFLOP/s on an H200, whose sheet says 989.
	productShare = 0.78
	// Float32 on the ordinary units: NVIDIA's libraries are near the peak of large products,
	// and clocks fall under such a load.
	productShare32 = 0.85
	// Convolutions are given to cuDNN with channels before positions, which tensor cores do
	// not read as they lie: an estimate.
	convShare = 0.5
	// Fused attention forward; backward has more to synchronise. After the figures of
	// "FlashAttention-2" (Dao, 2023) for an A100: up to 73 % forward and 63 % backward.
	attentionShare, attentionGradShare = 0.6, 0.5
	// Our own kernels, on cards for which there is no library of the vendor's: an estimate.
	ownShare = 0.4
	// A copy ran at 4.3 TB/s on the same H200, whose sheet says 4.8.
	bandwidthShare = 0.85
	// From the start of a kernel in a graph to that of the next, if neither does anything; and
	// how long the first bytes are under way. Both are estimates.
	launchSeconds       = 2e-6
	launchOpenCL        = 6e-6
	latencySeconds      = 2e-6
	productTile         = 128 // rows and columns that a multiprocessor computes at a time
	productDepth        = 96  // sums of this length run at half of the speed
	arithmeticInstances = 0.6 // of float32's peak, for what is no product
)

// roofline is how long kernels take on a card. launches is the number of them altogether.
func roofline(c *hardware.Card, costs []sinter.KernelCost, launches int) Time {
	var sum Time
	for i := range costs {
		k := &costs[i]
		compute, memory := cardKernel(c, k)
		if compute > memory {
			sum.Compute += float64(k.Times) * compute
		} else {
			sum.Memory += float64(k.Times) * memory
		}
	}
	each := launchSeconds
	if c.Capability == 0 {
		each = launchOpenCL
	}
	sum.Launch = each * float64(launches)
	return sum
}

// cardKernel is the seconds that a kernel's arithmetic and its traffic take.
func cardKernel(c *hardware.Card, k *sinter.KernelCost) (compute, memory float64) {
	bytes := float64(k.Read + k.Written)
	if bytes > 0 {
		memory = bytes/(c.Bandwidth*bandwidthShare) + latencySeconds
	}
	plain, _ := c.Rate("fp32")
	compute = float64(k.Work) / (plain * arithmeticInstances)
	if k.FLOPs == 0 {
		return compute, memory
	}
	rate, wide := productRate(c, operands(k))
	share := productShare
	if wide {
		share = productShare32
	}
	switch {
	case c.Capability == 0:
		share = ownShare
	case k.Kind == "attention":
		share *= attentionShare / productShare
	case k.Kind == "attention_grad":
		share *= attentionGradShare / productShare
	case len(k.Kind) >= 4 && k.Kind[:4] == "conv":
		share *= convShare / productShare
	}
	compute += float64(k.FLOPs) / (rate * share * occupied(c, k))
	return compute, memory
}

// operands is what the operands of a product are rounded to.
func operands(k *sinter.KernelCost) string {
	if k.TF32 {
		return "tf32"
	}
	return k.Data.String()
}

// productRate is the peak of products of a type on a card as Sinter computes them, and
// whether that is the rate of float32: on the ordinary units, or because the card has no
// others for the type. OpenCL reaches no matrix units.
func productRate(c *hardware.Card, dtype string) (rate float64, wide bool) {
	plain, _ := c.Rate("fp32")
	name := map[string]string{"float16": "fp16", "bfloat16": "bf16", "tf32": "tf32", "float64": "fp64"}[dtype]
	if name == "" || c.Capability == 0 && name != "fp64" {
		return plain, true
	}
	if name == "fp64" {
		r, _ := c.Rate(name)
		return max(r, 1), true
	}
	if r, ok := c.Peak[name]; ok {
		return r, r <= plain
	}
	return plain, true
}

// occupied is the share of the multiprocessors that have something to do while a product
// runs, by the tiles that it is cut into. Sums are cut as well where tiles are few, so that
// long ones fill the card even so.
func occupied(c *hardware.Card, k *sinter.KernelCost) float64 {
	if k.M == 0 || k.N == 0 || k.K == 0 || c.Units == 0 {
		return 1
	}
	part := func(n int) float64 { // of the last tile
		t := math.Ceil(float64(n) / productTile)
		return math.Max(float64(n)/(t*productTile), 0.25)
	}
	tiles := math.Ceil(float64(k.M)/productTile) * math.Ceil(float64(k.N)/productTile) * float64(max(1, k.Batch))
	splits := math.Min(math.Max(1, float64(k.K)/512), math.Ceil(float64(c.Units)/tiles))
	tiles *= splits
	rounds := math.Ceil(tiles / float64(c.Units))
	depth := float64(k.K) / splits
	return math.Max(0.01, part(k.M)*part(k.N)*tiles/(rounds*float64(c.Units))*depth/(depth+productDepth))
}
