// Package reftest reads the reference files that scripts/reference makes with
// PyTorch and compares results with them.
//
// It knows nothing of tensors: a value goes out as raw little-endian bytes and
// comes back as such, so that the tests of any package above can use it. The file
// format and the formula behind Noise and Labels are described in
// scripts/reference/common.py.
package reftest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// Case is one line of a reference file.
type Case struct {
	Op, Name string
	Args     Args
	In       []*Tensor // nil where an optional operand is left out
	Out      []*Tensor
	// Grad holds, for every input, the gradient of Σ out·cotangent, output j
	// having the cotangent Noise(j+1); nil for inputs without one. It is empty if
	// the case has no gradients.
	Grad []*Tensor

	// Layers only: the state before, its gradient, and the buffers after the call.
	State      map[string]*Tensor
	StateGrad  map[string]*Tensor `json:"state_grad"`
	StateAfter map[string]*Tensor `json:"state_after"`

	// Update rules and schedules only.
	Loss     []float64
	Params   [][]float64
	GradNorm []float64 `json:"grad_norm"`
	LR       []float64
	Metric   []float64
	Scale    []float64 // after each step, of a scaled loss

	Single bool // at the limits of float32: no run in float64
	Exact  bool // no tolerance
	Kink   bool // finite differences do not hold here
}

// ID names the case in test output.
func (c *Case) ID() string { return c.Op + "/" + c.Name }

// Wide tells whether the case can be run in float64 as well.
func (c *Case) Wide() bool {
	return !c.Single && slices.ContainsFunc(c.In, func(x *Tensor) bool { return x != nil && x.DType == dtype.Float32 })
}

// Load reads the cases of a file; about, if not nil, receives its header.
func Load(t testing.TB, path string, about any) []*Case {
	t.Helper()
	var f struct {
		About json.RawMessage
		Cases []*Case
	}
	Decode(t, path, &f)
	if about != nil {
		if err := json.Unmarshal(f.About, about); err != nil {
			t.Fatalf("%s: about: %v", path, err)
		}
	}
	if len(f.Cases) == 0 {
		t.Fatalf("%s: no cases", path)
	}
	return f.Cases
}

// Decode reads a JSON file.
func Decode(t testing.TB, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// Args are the keyword arguments of a case. The getters panic on an argument that
// is missing or of another kind, which fails the case; the *Or forms take a
// default for one that is missing.
type Args map[string]any

// Has tells whether an argument is given.
func (a Args) Has(name string) bool { _, ok := a[name]; return ok }

func (a Args) get(name string) any {
	v, ok := a[name]
	if !ok {
		panic(fmt.Sprintf("reftest: the case has no argument %q, only %v", name, map[string]any(a)))
	}
	return v
}

// Float is a number.
func (a Args) Float(name string) float64 { return parse(a.get(name)) }

// FloatOr is a number, or def.
func (a Args) FloatOr(name string, def float64) float64 {
	if !a.Has(name) {
		return def
	}
	return a.Float(name)
}

// Int is an integer.
func (a Args) Int(name string) int { return int(a.Float(name)) }

// IntOr is an integer, or def.
func (a Args) IntOr(name string, def int) int { return int(a.FloatOr(name, float64(def))) }

// Ints is a list of integers, nil if it is missing.
func (a Args) Ints(name string) []int {
	if !a.Has(name) {
		return nil
	}
	l := []int{}
	for _, v := range a[name].([]any) {
		l = append(l, int(parse(v)))
	}
	return l
}

// Floats is a list of numbers, nil if it is missing.
func (a Args) Floats(name string) []float64 {
	if !a.Has(name) {
		return nil
	}
	l := []float64{}
	for _, v := range a[name].([]any) {
		l = append(l, parse(v))
	}
	return l
}

// Bool is a truth value, false if it is missing.
func (a Args) Bool(name string) bool {
	b, _ := a[name].(bool)
	return b
}

// String is a text, empty if it is missing.
func (a Args) String(name string) string {
	s, _ := a[name].(string)
	return s
}

// DType is an element type.
func (a Args) DType(name string) dtype.DType {
	d, err := dtype.Parse(a.get(name).(string))
	if err != nil {
		panic(err)
	}
	return d
}

// Run calls f for every case as a subtest, and turns a panic into a failure, so
// that one broken operation does not hide the others.
func Run(t *testing.T, cases []*Case, f func(t *testing.T, c *Case)) {
	for _, c := range cases {
		t.Run(c.ID(), func(t *testing.T) { Guard(t, func() { f(t, c) }) })
	}
}

// Guard calls f and turns a panic into a failure.
func Guard(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	f()
}

// Covered fails for every operation of the cases without an entry in the table,
// and every entry without a case.
func Covered[F any](t *testing.T, table map[string]F, cases []*Case) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range cases {
		if _, ok := table[c.Op]; !ok && !seen[c.Op] {
			t.Errorf("the reference files have cases for %q, the test has no entry for it", c.Op)
		}
		seen[c.Op] = true
	}
	for op := range table {
		if !seen[op] {
			t.Errorf("the test has an entry for %q, the reference files have no case for it", op)
		}
	}
}
