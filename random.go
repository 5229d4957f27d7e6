package sinter

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"sync"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/philox"
	"github.com/sinter-dl/sinter/internal/shape"
)

// Generator makes random numbers on the host with Philox4x32-10: from one seed the
// same bits on every machine. It may be used by several goroutines at once; who gets
// which number is then up to them.
type Generator struct {
	mu    sync.Mutex
	key   philox.Key
	next  uint64 // block
	block [4]uint32
	used  int // words of block

	spare    float64 // the second of a pair of normal numbers
	hasSpare bool
}

// The sites that keep the streams of NewGenerator and Split apart from each other
// and from those of the operations in a graph.
const (
	siteSeed  = 0x5eed
	siteSplit = 0x5411
)

var defaultGenerator = NewGenerator(0)

// DefaultGenerator is the generator of layer initialisation, of Rand and its kin and
// of the keys of dropout. It begins with seed 0.
func DefaultGenerator() *Generator { return defaultGenerator }

// Seed starts the default generator anew, like torch.manual_seed.
func Seed(seed uint64) {
	g := defaultGenerator
	g.mu.Lock()
	defer g.mu.Unlock()
	g.start(seed, siteSeed)
}

// NewGenerator is a generator that begins with the given seed.
func NewGenerator(seed uint64) *Generator {
	g := new(Generator)
	g.start(seed, siteSeed)
	return g
}

// Reset begins anew, as a new generator with the given seed would: for those who need
// many short streams of numbers and make no garbage.
func (g *Generator) Reset(seed uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.start(seed, siteSeed)
}

func (g *Generator) start(seed, site uint64) {
	g.key, g.next, g.used, g.hasSpare = philox.NewKey(seed, site), 0, len(g.block), false
}

// word is the next 32 bits; the lock is held.
func (g *Generator) word() uint32 {
	if g.used == len(g.block) {
		b := &g.block
		b[0], b[1], b[2], b[3] = philox.Block(uint32(g.next), uint32(g.next>>32), 0, 0, g.key)
		g.next++
		g.used = 0
	}
	g.used++
	return g.block[g.used-1]
}

func (g *Generator) uint64() uint64 {
	lo := g.word()
	return uint64(g.word())<<32 | uint64(lo)
}

func (g *Generator) float64() float64 { return float64(g.uint64()>>11) * 0x1p-53 }

// below is uniform on 0 … n−1, by Lemire's method.
func (g *Generator) below(n uint64) uint64 {
	hi, lo := bits.Mul64(g.uint64(), n)
	if lo < n {
		for reject := -n % n; lo < reject; {
			hi, lo = bits.Mul64(g.uint64(), n)
		}
	}
	return hi
}

// normal is Marsaglia's polar method. Products are rounded by conversions before
// they are added, lest a machine fuses the two and gets other bits.
func (g *Generator) normal() float64 {
	if g.hasSpare {
		g.hasSpare = false
		return g.spare
	}
	for {
		x, y := 2*g.float64()-1, 2*g.float64()-1
		s := float64(x*x) + float64(y*y)
		if s >= 1 || s == 0 {
			continue
		}
		f := math.Sqrt(-2 * logarithm(s) / s)
		g.spare, g.hasSpare = y*f, true
		return x * f
	}
}

// logarithm is math.Log to within a few units in the last place, but with the same
// bits on every machine: log(2ᵉ·m) = e·log 2 + 2·artanh((m−1)/(m+1)).
func logarithm(x float64) float64 {
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = 2*m, e-1
	}
	z := (m - 1) / (m + 1)
	z2 := z * z
	series := 0.0
	for k := 23; k >= 1; k -= 2 { // |z| < 0.172, so the next term is below 2⁻⁶⁰
		series = float64(series*z2) + 1/float64(k)
	}
	return float64(float64(e)*math.Ln2) + float64(2*z*series)
}

// Uint64 is uniform on all 64-bit numbers.
func (g *Generator) Uint64() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.uint64()
}

// Float64 is uniform on [0, 1).
func (g *Generator) Float64() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.float64()
}

// NormFloat64 is normally distributed with mean 0 and standard deviation 1.
func (g *Generator) NormFloat64() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.normal()
}

// ExpFloat64 is exponentially distributed with mean 1.
func (g *Generator) ExpFloat64() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return -logarithm(1 - g.float64())
}

// IntN is uniform on 0 … n−1. It panics if n is not positive.
func (g *Generator) IntN(n int) int {
	if n <= 0 {
		panic("sinter: Generator.IntN: n is not positive")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return int(g.below(uint64(n)))
}

// Perm is a random order of 0 … n−1.
func (g *Generator) Perm(n int) []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := span(n)
	for i := n - 1; i > 0; i-- {
		j := g.below(uint64(i + 1))
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// Split is a new generator whose numbers have nothing to do with g's; it takes one
// number from g.
func (g *Generator) Split() *Generator {
	s := new(Generator)
	s.start(g.Uint64(), siteSplit)
	return s
}

// generatorState is how many bytes the state of a Generator takes.
const generatorState = 1 + 8 + 8 + 1 + 16 + 1 + 8

// MarshalBinary is where the generator stands, for a checkpoint: after
// UnmarshalBinary of it another generator gives the same numbers.
func (g *Generator) MarshalBinary() ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := make([]byte, 0, generatorState)
	b = append(b, 1) // version
	for _, k := range g.key {
		b = binary.LittleEndian.AppendUint32(b, k)
	}
	b = binary.LittleEndian.AppendUint64(b, g.next)
	b = append(b, byte(g.used))
	for _, w := range g.block {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	spare := byte(0)
	if g.hasSpare {
		spare = 1
	}
	b = append(b, spare)
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(g.spare)), nil
}

// UnmarshalBinary returns to what MarshalBinary gave.
func (g *Generator) UnmarshalBinary(b []byte) error {
	if len(b) != generatorState || b[0] != 1 || int(b[17]) > len(g.block) || b[34] > 1 {
		return errors.New("sinter: this is no state of a Generator")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.key {
		g.key[i] = binary.LittleEndian.Uint32(b[1+4*i:])
	}
	g.next = binary.LittleEndian.Uint64(b[9:])
	g.used = int(b[17])
	for i := range g.block {
		g.block[i] = binary.LittleEndian.Uint32(b[18+4*i:])
	}
	g.hasSpare = b[34] == 1
	g.spare = math.Float64frombits(binary.LittleEndian.Uint64(b[35:]))
	return nil
}

// draw fills a slice for the shape with numbers of the default generator.
func draw[T any](op string, sh []int, next func(g *Generator) T) []T {
	ensure(op, shape.Check(sh))
	v := make([]T, shape.Elements(sh))
	g := defaultGenerator
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range v {
		v[i] = next(g)
	}
	return v
}

// Rand is float32 of the given shape, uniform on [0, 1), new at every call.
func Rand(sh ...int) *Tensor {
	return FromFloats(draw("Rand", sh, func(g *Generator) float32 { return float32(g.word()>>8) * 0x1p-24 }), sh...)
}

// Randn is float32 of the given shape, normally distributed with mean 0 and standard
// deviation 1, new at every call.
func Randn(sh ...int) *Tensor {
	return FromFloats(draw("Randn", sh, func(g *Generator) float32 { return float32(g.normal()) }), sh...)
}

// RandInt is int64 of the given shape, uniform on lo … hi−1, new at every call.
func RandInt(lo, hi int64, sh ...int) *Tensor {
	if lo >= hi {
		ir.Fail("RandInt", "there is no integer from %d to below %d", lo, hi)
	}
	n := uint64(hi) - uint64(lo)
	return FromInts(draw("RandInt", sh, func(g *Generator) int64 { return lo + int64(g.below(n)) }), sh...)
}

// Bernoulli is float32 of the given shape: 1 with probability p, else 0; new at every
// call.
func Bernoulli(p float64, sh ...int) *Tensor {
	if !(p >= 0 && p <= 1) {
		ir.Fail("Bernoulli", "%v is not a probability", p)
	}
	return FromFloats(draw("Bernoulli", sh, func(g *Generator) float32 {
		if g.float64() < p {
			return 1
		}
		return 0
	}), sh...)
}

// RandPerm is a random order of 0 … n−1 as int64 [n], new at every call.
func RandPerm(n int) *Tensor {
	if n < 0 {
		ir.Fail("RandPerm", "%d elements", n)
	}
	v := make([]int64, n)
	for i, p := range defaultGenerator.Perm(n) {
		v[i] = int64(p)
	}
	return FromInts(v, n)
}
