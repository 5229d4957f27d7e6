package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestParseParam(t *testing.T) {
	for text, want := range map[string]Param{
		"batch=16, 32,64":             {Key: "batch", Values: []string{"16", "32", "64"}},
		"optimizer.kind=sgd":          {Key: "optimizer.kind", Values: []string{"sgd"}},
		"model.dropout=0..0.5":        {Key: "model.dropout", From: 0, To: 0.5},
		"model.layers=2..6":           {Key: "model.layers", From: 2, To: 6, Integer: true},
		"optimizer.lr=log:1e-4..1e-1": {Key: "optimizer.lr", From: 1e-4, To: 0.1, Log: true},
	} {
		if got, err := ParseParam(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"batch": "no key and values", "=1": "no key", "a=": "no key and values", "a=1,,2": "an empty value",
		"a=2..1": "does not go upward", "a=x..2": "not numbers", "a=log:0..1": "above zero", "a=log:1,2": "for a range", "a=0..inf": "not numbers",
	} {
		if _, err := ParseParam(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", text, err, want)
		}
	}
}

func space(t *testing.T, texts ...string) (ps []Param) {
	t.Helper()
	for _, s := range texts {
		p, err := ParseParam(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestGrid(t *testing.T) {
	var got []string
	for _, settings := range grid(space(t, "a=x,y", "n=1..3", "lr=log:1e-4..1")) {
		text := ""
		for _, s := range settings {
			text += s.Value + " "
		}
		got = append(got, text)
	}
	if len(got) != 2*3*5 || got[0] != "x 1 0.0001 " || got[7] != "x 2 0.01 " || got[29] != "y 3 1 " {
		t.Errorf("%q", got)
	}
}

// Samples follow from seed and number, stay within bounds, and reach all of them.
func TestSample(t *testing.T) {
	ps := space(t, "kind=a,b,c", "n=1..4", "u=0.0..1.0", "lr=log:1e-4..1e-1")
	counts := map[string]int{}
	var u, logs float64
	const n = 4000
	for i := range n {
		s := sample(ps, 7, i)
		if !reflect.DeepEqual(s, sample(ps, 7, i)) {
			t.Fatal("two samples of one trial differ")
		}
		counts["kind "+s[0].Value]++
		counts["n "+s[1].Value]++
		x, _ := strconv.ParseFloat(s[2].Value, 64)
		lr, _ := strconv.ParseFloat(s[3].Value, 64)
		if x < 0 || x > 1 || lr < 1e-4 || lr > 0.1 {
			t.Fatalf("out of bounds: %v", s)
		}
		u += x / n
		logs += math.Log10(lr) / n
	}
	for what, c := range counts {
		want := n / 3.0
		if strings.HasPrefix(what, "n ") {
			want = n / 4.0
		}
		if math.Abs(float64(c)-want) > 5*math.Sqrt(want) {
			t.Errorf("%s came %d times, expected about %.0f", what, c, want)
		}
	}
	if len(counts) != 7 || math.Abs(u-0.5) > 0.03 || math.Abs(logs+2.5) > 0.06 {
		t.Errorf("%v, mean %g, mean exponent %g", counts, u, logs)
	}
	if reflect.DeepEqual(sample(ps, 7, 1), sample(ps, 8, 1)) {
		t.Error("two seeds give the same trial")
	}
}

// objective has its best value at x = 0.3, and trials that have come further are better.
func objective(_ context.Context, t Trial, share float64) (float64, error) {
	x, err := strconv.ParseFloat(t.Settings[0].Value, 64)
	if x > 0.9 {
		return 0, &TrialError{errors.New("it diverged")}
	}
	return share * (1 - math.Abs(x-0.3)), err
}

func TestSearch(t *testing.T) {
	for _, method := range []Method{Grid, Random, ASHA} {
		s := Search{Space: space(t, "x=0.0..1.0"), Method: method, Trials: 27, Metric: "accuracy"}
		var all []Measurement
		ranked, err := s.Run(t.Context(), objective, func(m Measurement) { all = append(all, m) })
		if err != nil {
			t.Fatal(err)
		}
		x, _ := strconv.ParseFloat(ranked[0].Settings[0].Value, 64)
		if math.Abs(x-0.3) > 0.1 || len(ranked) != s.Count() {
			t.Errorf("%s: %d trials, the best %+v", method, len(ranked), ranked[0])
		}
		worst := ranked[len(ranked)-1]
		if worst.Failed != "it diverged" || !math.IsNaN(worst.Value) {
			t.Errorf("%s: the last is %+v", method, worst)
		}

		// Stopped anywhere, it goes on to the same measurements.
		for stop := range len(all) {
			again := s
			again.Done = all[:stop]
			rest := slices.Clone(all[:stop])
			if _, err := again.Run(t.Context(), objective, func(m Measurement) { rest = append(rest, m) }); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(rest) != fmt.Sprint(all) {
				t.Fatalf("%s: stopped after %d it went on otherwise:\n%v\n%v", method, stop, rest, all)
			}
		}
	}
}

// ASHA trains far fewer steps: with 27 trials, rungs at a ninth, a third and the whole,
// each passing on the best third.
func TestASHA(t *testing.T) {
	s := Search{Space: space(t, "x=0..0.8"), Method: ASHA, Trials: 27, Metric: "accuracy"}
	rungs := map[int]int{}
	trained := map[int]float64{}
	shares := map[int]float64{}
	if _, err := s.Run(t.Context(), objective, func(m Measurement) {
		rungs[m.Rung]++
		trained[m.Number] = m.Share
		shares[m.Rung] = m.Share
	}); err != nil {
		t.Fatal(err)
	}
	if rungs[0] != 27 || rungs[1] < 9 || rungs[2] < 3 || rungs[1] > 14 || rungs[2] > 5 {
		t.Errorf("measurements by rung: %v", rungs)
	}
	if math.Abs(shares[0]-1.0/9) > 1e-12 || math.Abs(shares[1]-1.0/3) > 1e-12 || shares[2] != 1 {
		t.Errorf("shares %v", shares)
	}
	total := 0.0
	for _, share := range trained {
		total += share
	}
	if total > 12 { // runs; 27 without halving
		t.Errorf("trained for %g whole runs", total)
	}
	stopped := errors.New("stopped")
	_, err := s.Run(t.Context(), func(context.Context, Trial, float64) (float64, error) { return 0, stopped }, nil)
	if !errors.Is(err, stopped) || !strings.Contains(err.Error(), "trial 0") {
		t.Errorf("an error that is no trial's: %v", err)
	}
}
