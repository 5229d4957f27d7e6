package hardware

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Range is versions from one to another, both included: 580.95 is within a range up to 580.
// A bound that is empty is none.
type Range struct{ Min, Max string }

// Contains tells whether a version is in the range.
func (r Range) Contains(version string) bool {
	if r.Min != "" && compare(version, r.Min) < 0 {
		return false
	}
	if r.Max == "" {
		return true
	}
	// Only as many numbers count as the bound has.
	v, n := strings.Split(version, "."), strings.Count(r.Max, ".")+1
	return compare(strings.Join(v[:min(n, len(v))], "."), r.Max) <= 0
}

// String is "9.0 to 12.9", "11.8 or later", "any".
func (r Range) String() string {
	switch {
	case r.Min == "" && r.Max == "":
		return "any"
	case r.Max == "":
		return r.Min + " or later"
	case r.Min == "":
		return "up to " + r.Max
	}
	return r.Min + " to " + r.Max
}

// compare compares versions number by number; what is not a number counts as 0.
func compare(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		var m, n int
		if i < len(x) {
			m, _ = strconv.Atoi(x[i])
		}
		if i < len(y) {
			n, _ = strconv.Atoi(y[i])
		}
		if m != n {
			return cmp.Compare(m, n)
		}
	}
	return 0
}

// Verdict is how good something is that was looked at.
type Verdict string

const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // it works, but not as well as it could
	Failure Verdict = "failure" // it does not work
)

// Finding is what was found where two versions have to suit each other.
type Finding struct {
	Subject  string // "driver", "cuda", "cudnn"
	Verdict  Verdict
	Evidence string // what there is, and what there would have to be
	Remedy   string // empty if the verdict is OK
}

// drivers is the oldest driver for Linux of each major version of CUDA (minor versions are
// compatible with each other; see the release notes of the CUDA toolkit, table 2).
var drivers = []struct{ cuda, driver string }{{"13", "580"}, {"12", "525.60.13"}, {"11", "450.80.02"}}

// Check tells whether a card, its driver, the libraries of CUDA (NVRTC's version stands for
// them) and cuDNN work together. A version that is empty is not there or not known, and not
// judged; so is everything for cards that are not NVIDIA's.
func Check(card Card, driver, cuda, cudnn string) []Finding {
	if card.Capability == 0 {
		return nil
	}
	capability := fmt.Sprintf("%d.%d", card.Capability/10, card.Capability%10)
	var list []Finding
	add := func(subject string, ok bool, evidence, remedy string) {
		f := Finding{Subject: subject, Verdict: OK, Evidence: evidence}
		if !ok {
			f.Verdict, f.Remedy = Failure, remedy
		}
		list = append(list, f)
	}
	if driver != "" {
		install := "install a driver of version " + card.Driver.String()
		if card.Driver.Max != "" && compare(driver, card.Driver.Min) >= 0 {
			install = "install a driver of the branch " + card.Driver.Max + ", which is the last with this card"
		}
		add("driver", card.Driver.Contains(driver), fmt.Sprintf("driver %s; a %s (compute capability %s) takes %s", driver, card.Name, capability, card.Driver), install)
	}
	if cuda != "" {
		remedy := fmt.Sprintf("install CUDA %s: pip install nvidia-cuda-nvrtc-cu12 nvidia-cublas-cu12", card.CUDA)
		if card.CuDNN.Max != "" {
			remedy += ` "nvidia-cudnn-cu12<9.11"`
		} else {
			remedy += " nvidia-cudnn-cu12"
		}
		add("cuda", card.CUDA.Contains(cuda), fmt.Sprintf("libraries of CUDA %s; those for compute capability %s are %s", cuda, capability, card.CUDA), remedy)
	}
	if cuda != "" && driver != "" {
		major, _, _ := strings.Cut(cuda, ".")
		for _, d := range drivers {
			if d.cuda == major {
				remedy := fmt.Sprintf("install driver %s or later", d.driver)
				if compare(major, "12") > 0 && card.CUDA.Contains("12.9") {
					remedy += ", or libraries of CUDA 12: pip install nvidia-cuda-nvrtc-cu12 nvidia-cublas-cu12 nvidia-cudnn-cu12"
				}
				if !card.CUDA.Contains(cuda) {
					remedy = "install libraries of CUDA " + card.CUDA.String()
				}
				add("driver for cuda", compare(driver, d.driver) >= 0, fmt.Sprintf("CUDA %s wants driver %s or later; there is %s", major, d.driver, driver), remedy)
			}
		}
	}
	if cudnn != "" {
		remedy := fmt.Sprintf("install cuDNN %s", card.CuDNN)
		if card.CuDNN.Max != "" {
			remedy = `pip install "nvidia-cudnn-cu12<9.11"`
		}
		add("cudnn", card.CuDNN.Contains(cudnn), fmt.Sprintf("cuDNN %s; those with kernels for compute capability %s are %s", cudnn, capability, card.CuDNN), remedy)
	}
	return list
}

// Supply is the power supply that a machine needs, in W: what its processors and its cards may
// draw at most, and 100 W for the rest, at 80 % of what the supply can give. It is a rule
// of thumb.
func Supply(cards []float64, processors float64) float64 {
	sum := processors + 100
	for _, w := range cards {
		sum += w
	}
	return sum / 0.8
}
