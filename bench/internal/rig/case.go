package rig

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"time"
)

// Case is one operation to be timed. What it needs is made anew for every case, of
// random numbers.
//
//	gemm           Dims [m n k]: C = A·B; Mode NN, TN or NT says which operand is
//	               stored transposed
//	bmm            Dims [batch m n k], row-major
//	conv           Dims [n in out size window stride padding groups], channels last;
//	               Mode forward, input or weights
//	softmax        Dims [rows columns], over the columns
//	layernorm      Dims [rows columns], with scale and shift
//	gelu-backward  Dims [n]: the gradient of the exact GELU
//	adamw          Dims [n]: the update of n parameters
//	copy           Dims [n]
//	mlp-forward    Dims [batch inputs hidden outputs]
type Case struct {
	Op      string  `json:"op"`
	Mode    string  `json:"mode,omitempty"`
	Dims    []int   `json:"dims"`
	BF16    bool    `json:"bf16,omitempty"` // operands and results are bfloat16
	Seconds float64 `json:"seconds"`        // to take for it
}

// Flops is the number of multiplications and additions, 0 where memory is what
// counts.
func (c Case) Flops() float64 {
	switch d := c.Dims; c.Op {
	case "gemm":
		return 2 * product(d)
	case "bmm":
		return 2 * product(d)
	case "conv":
		n, in, out, window, groups := d[0], d[1], d[2], d[4], d[7]
		return 2 * product([]int{n, in / groups, out, window, window, c.OutSize(), c.OutSize()})
	}
	return 0
}

// OutSize is the extent of a convolution's result.
func (c Case) OutSize() int {
	size, window, stride, padding := c.Dims[3], c.Dims[4], c.Dims[5], c.Dims[6]
	return (size+2*padding-window)/stride + 1
}

// Bytes is what has to be read and written once, 0 where arithmetic counts.
func (c Case) Bytes() float64 {
	n := product(c.Dims)
	switch c.Op {
	case "softmax", "layernorm", "copy":
		return 8 * n
	case "gelu-backward":
		return 12 * n
	case "adamw":
		return 28 * n
	}
	return 0
}

func product(v []int) float64 {
	p := 1.0
	for _, n := range v {
		p *= float64(n)
	}
	return p
}

// Timing is the answer to a case: seconds for one call. Missing says that the side
// does not have the operation.
type Timing struct {
	Median  float64 `json:"median"`
	Best    float64 `json:"best"`
	Missing bool    `json:"missing,omitempty"`
}

// ServeCases reads cases, one a line, and writes the timing of each. prepare gives
// the operation to time, nil if the side does not have it; what the case before
// needed is garbage by then. wait, if not nil, returns when all that was called is done.
func ServeCases(in io.Reader, out io.Writer, prepare func(Case) (run func(), err error), wait func()) error {
	lines := bufio.NewScanner(in)
	var last string
	var run func()
	for lines.Scan() {
		var c Case
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if lines.Text() != last {
			run, last = nil, lines.Text()
			debug.FreeOSMemory()
			var err error
			if run, err = prepare(c); err != nil {
				return fmt.Errorf("%q: %w", last, err)
			}
		}
		t := Timing{Missing: true}
		if run != nil {
			t = Time(run, c.Seconds, wait)
		}
		line, err := json.Marshal(t)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, string(line)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// sample is how long one timing lasts at least; the clock's own cost vanishes in it.
const sample = 300 * time.Microsecond

// waited is what a sample lasts at least where it ends with a wait.
const waited = 10 * time.Millisecond

// Time calls run for about the given time, in samples of several calls where it is
// short. wait, if not nil, ends a sample.
func Time(run func(), seconds float64, wait func()) Timing {
	least := sample
	if wait == nil {
		wait = func() {}
	} else {
		least = waited
	}
	run()
	wait()
	calls := 1
	for {
		began := time.Now()
		for range calls {
			run()
		}
		wait()
		took := time.Since(began)
		if took >= least {
			break
		}
		calls *= 2
	}
	var v []float64
	for began := time.Now(); len(v) == 0 || time.Since(began).Seconds() < seconds; {
		at := time.Now()
		for range calls {
			run()
		}
		wait()
		v = append(v, time.Since(at).Seconds()/float64(calls))
	}
	return Timing{Median: Median(v), Best: slices.Min(v)}
}
