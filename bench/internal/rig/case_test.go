package rig

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestServeCases(t *testing.T) {
	made := 0
	in := `{"op":"sleep","dims":[2],"seconds":0.01}
{"op":"sleep","dims":[2],"seconds":0.01}
{"op":"unknown","dims":[],"seconds":1}
`
	var out strings.Builder
	err := ServeCases(strings.NewReader(in), &out, func(c Case) (func(), error) {
		if c.Op != "sleep" {
			return nil, nil
		}
		made++
		return func() { time.Sleep(time.Duration(c.Dims[0]) * time.Millisecond) }, nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if made != 1 {
		t.Errorf("a case that is asked for twice in a row was made %d times", made)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d answers to 3 cases", len(lines))
	}
	for i, line := range lines {
		var a Timing
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			if !a.Missing {
				t.Errorf("an unknown operation took %+v", a)
			}
		} else if a.Missing || a.Best < 0.002 || a.Median < a.Best {
			t.Errorf("a call of 2 ms took %+v", a)
		}
	}
}

// Where calls return before they are done, a sample ends with a wait for them.
func TestWait(t *testing.T) {
	queue := 0
	a := Time(func() { queue++ }, 0.01, func() {
		time.Sleep(time.Duration(queue) * time.Millisecond)
		queue = 0
	})
	if a.Best < 0.001 || queue != 0 {
		t.Errorf("a call of 1 ms took %+v; %d are not done", a, queue)
	}
}

func TestFlops(t *testing.T) {
	c := Case{Op: "conv", Dims: []int{32, 64, 128, 28, 3, 2, 1, 1}}
	if got, want := c.Flops(), 2.0*32*128*14*14*64*9; got != want {
		t.Errorf("%g operations, want %g", got, want)
	}
}
