// Package devicetest is the conformance suite that every backend runs:
//
//	func TestConformance(t *testing.T) { devicetest.Run(t, cpu.New()) }
//
// A test writes a small kernel.Program by hand, has the device run it, and compares
// what comes out with what the definitions say. These are written down once more
// here, as slowly and as plainly as possible: an interpreter of programs that
// computes every element by itself, in float64 or int64.
//
//	number.go       element types, and the meaning of the elementwise operations
//	interpret.go    fused kernels
//	library.go      library operations
//	program.go      writing programs, running them, comparing
//
// The tests proceed from the small to the large:
//
//	memory.go       buffers
//	elementwise.go  every operation of the table, on every type, in every layout
//	fused.go        Loop, Reduce, Row and Multi kernels
//	contraction.go  matrix products and convolutions
//	indexing.go     windows, gather and scatter, along an axis
//	scan.go         loops
//	execution.go    programs of several steps, bindings, goroutines
//
// # Tolerances
//
// What has to be exact is exact to the bit, but for the payload of a NaN:
//
//   - integers and bool, which wrap; comparisons; everything that moves or selects;
//   - negation, absolute value, sign, rounding to whole numbers, maximum, minimum
//     and remainder, and conversions, which round to nearest even;
//   - addition, subtraction and multiplication, each rounded by itself: a device
//     must not contract a product and a sum into one operation;
//   - sums and products in matrices of numbers so short that no order of additions
//     rounds.
//
// Everything else is measured in units in the last place (ulp) of the right result:
//
//	division, square root              3
//	exp, log, sin, tanh, erf and kin   4
//	pow                               16, and 2048 in float64
//	sums of positive numbers          16
//	what is composed of these          said at the test
//
// The 16-bit floats are computed in float32 and then rounded, so there they may be
// off by 1, where float32 may be off at all. The sign of a zero counts, but not that
// of a maximum or minimum, nor where a result may be inexact. Subnormal numbers are
// not tested: a device may take them for zero.
//
// Every program is run twice and must give the same bits.
package devicetest

import (
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/device"
)

// Run tests a device. With names, it runs the tests of these alone: for a part of a
// backend.
func Run(t *testing.T, d device.Device, names ...string) { (&suite{Device: d}).run(t, names) }

// Sample is Run for a device whose compiler takes so long that thousands of kernels are
// too many: every elementwise operation is tested on every type, and in every layout, but
// not in every layout on every type.
func Sample(t *testing.T, d device.Device, names ...string) {
	(&suite{Device: d, sample: true}).run(t, names)
}

func (s *suite) run(t *testing.T, names []string) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"memory", s.memory},
		{"elementwise", s.elementwise},
		{"loop", s.loops},
		{"reduce", s.reductions},
		{"row", s.rows},
		{"multi", s.multi},
		{"random bits", s.randomBits},
		{"dot", s.dot},
		{"conv", s.conv},
		{"window", s.windows},
		{"index", s.indexing},
		{"axis", s.axis},
		{"scan", s.scan},
		{"execution", s.execution},
	} {
		if len(names) == 0 || slices.Contains(names, test.name) {
			t.Run(test.name, test.run)
		}
	}
}

// Fused tests a device's fused kernels alone.
func Fused(t *testing.T, d device.Device) {
	s := &suite{Device: d}
	t.Run("elementwise", s.elementwise)
	t.Run("loop", s.loops)
	t.Run("reduce", s.reductions)
	t.Run("row", s.rows)
	t.Run("multi", s.multi)
	t.Run("random bits", s.randomBits)
}

// suite holds the tests of a device.
type suite struct {
	device.Device
	sample bool
}
