// Package hardware knows devices and machines: what there is to buy, and what is here.
//
// The catalogue is the devices that people train on, with the figures of their vendors'
// sheets, so that a run can be planned for a device that is not there ([Catalogue], [Find],
// [Match]), with the slices that a device of NVIDIA's can be cut into ([Advise]) and the
// drivers and libraries that it works with ([Check]).
//
// [System] is the machine: its processor, memory, disks, network, clock, the cards on its
// PCI bus, and the limits that a container puts on all that. It is read from the files in
// which Linux tells it, under a root that tests choose. On other systems little is known;
// what is not known is an error that says why, and never a zero.
//
// Package telemetry, below this one, reads what changes while devices work.
package hardware

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter/internal/nearest"
)

// Card is a device of the catalogue, or a slice of one.
type Card struct {
	Key    string // "h100-sxm", "a100-80gb/1g.10gb"
	Name   string // "NVIDIA H100 SXM"
	Vendor string // "nvidia", "amd"
	Arch   string // what code is compiled for: "sm_90", "gfx1030"
	// Capability is 90 for compute capability 9.0, and 0 for what is not NVIDIA's.
	Capability int
	// Peak is what it computes at most, in FLOP/s (for int8, operations a second), with
	// dense operands, by the type of the operands: "fp64", "fp32", "tf32", "fp16", "bf16",
	// "fp8", "int8". The first two are of the ordinary units, the others of the matrix units
	// that accumulate in float32 where there are any. A type that is absent has no units of its
	// own; see [Card.Rate].
	Peak      map[string]float64
	Bandwidth float64 // of its memory, in bytes/s
	Memory    int64   // bytes, as the driver counts them; what a context takes comes off
	Units     int     // multiprocessors or compute units
	// Power is the limit that it is sold with, in W. Idle is what it draws without work, an
	// estimate: vendors do not publish it.
	Power, Idle float64
	Supply      float64   // W of the power supply that its vendor recommends; 0: it is for servers
	CUDA        Range     // what compiles for it; zero: none does
	CuDNN       Range     // what has kernels for it
	Driver      Range     // what drives it
	MIG         []Profile // slices; empty: it cannot be cut
	Slice       *Profile  // what it is, if it is a slice
	Source      string    // where the figures are from, and of what year

	models []string // what drivers call it
}

// Profile is a slice of a card.
type Profile struct {
	Name         string // "1g.10gb"
	Slices, Of   int    // of the card's compute slices, which are 7 as a rule
	Parts, Whole int    // of the parts of the card's memory, which are 8 as a rule
	Memory       int64  // bytes
	Units        int    // multiprocessors
	Max          int    // how many a card has at most

	starts []int // the parts of the memory that it may begin at
}

// Share is the part of the card's energy that counts as the slice's: its part of the
// compute slices. A card measures its energy as a whole only, so that this is an estimate,
// and has to be shown as one. The parts of all slices add up to at most 1; what is left is
// nobody's.
func (p Profile) Share() float64 { return float64(p.Slices) / float64(p.Of) }

// Rate is how fast the card computes with operands of a type at most, in FLOP/s: its peak,
// or where it has no units for the type, that of the type which it is widened to: float16
// from bfloat16 and the types of 8 bits, float32 from all of them. ok is false for a type
// that is not known.
func (c Card) Rate(dtype string) (rate float64, ok bool) {
	wider := map[string][]string{
		"fp64": {"fp64"}, "fp32": {"fp32"}, "tf32": {"tf32", "fp32"}, "fp16": {"fp16", "fp32"}, "bf16": {"bf16", "fp32"},
		"fp8": {"fp8", "fp16", "fp32"}, "int8": {"int8", "fp16", "fp32"},
	}
	for _, t := range wider[dtype] {
		if r, ok := c.Peak[t]; ok {
			return r, true
		}
	}
	return 0, false
}

// slice is the card that a slice of it is.
func (c Card) slice(p Profile) Card {
	part := float64(p.Units) / float64(c.Units)
	s := c
	s.Key, s.Name = c.Key+"/"+p.Name, c.Name+" "+p.Name
	s.Peak = maps.Clone(c.Peak)
	for t := range s.Peak {
		s.Peak[t] *= part
	}
	s.Bandwidth *= float64(p.Parts) / float64(p.Whole)
	s.Memory, s.Units = p.Memory, p.Units
	s.Power, s.Idle = c.Power*p.Share(), c.Idle*p.Share()
	s.MIG, s.Slice = nil, &p
	s.Source += "; the slice's part of the multiprocessors, the memory and the power"
	return s
}

// UnknownError is a name that nothing is known by.
type UnknownError struct {
	What    string   // "device", "slice of NVIDIA A100 80GB"
	Name    string   // that was asked for
	Nearest []string // names that are known, the nearest first
}

func (e *UnknownError) Error() string {
	s := fmt.Sprintf("there is no %s %q", e.What, e.Name)
	if len(e.Nearest) > 0 {
		s += "; the nearest names are " + strings.Join(e.Nearest, ", ")
	}
	return s
}

// Find is the card of a key or a name, or of what its driver calls it, whatever the case and
// punctuation: "h100-sxm", "NVIDIA H100 SXM", "rtx4090", "Tesla T4". A key with a profile behind it is a slice of a card:
// "a100-80gb/1g.10gb". What is not known is an [*UnknownError] with the nearest keys.
func Find(name string) (Card, error) {
	key, profile, sliced := strings.Cut(name, "/")
	for _, c := range catalogue {
		called := append([]string{c.Key, c.Name}, c.models...)
		if !slices.ContainsFunc(called, func(n string) bool { return simple(n) == simple(key) }) {
			continue
		}
		c = c.clone()
		if !sliced {
			return c, nil
		}
		var names []string
		for _, p := range c.MIG {
			if strings.EqualFold(p.Name, profile) {
				return c.slice(p), nil
			}
			names = append(names, c.Key+"/"+p.Name)
		}
		return Card{}, &UnknownError{What: "slice of " + c.Name, Name: name, Nearest: closest(name, names)}
	}
	var names []string
	for _, c := range catalogue {
		names = append(names, c.Key)
	}
	return Card{}, &UnknownError{What: "device", Name: name, Nearest: closest(strings.Join(fields(key), "-"), names)}
}

// Match is the card that a driver, or OpenCL, calls by this name: "NVIDIA H100 80GB HBM3",
// "AMD Radeon RX 6800 XT", "NVIDIA A100-SXM4-80GB MIG 1g.10gb". ok is false if it is not in
// the catalogue.
func Match(model string) (card Card, ok bool) {
	model, profile, sliced := strings.Cut(model, " MIG ")
	// All words have to be the same: an "RTX 3080 Ti" is no "RTX 3080".
	words := fields(model)
	for _, c := range catalogue {
		for _, m := range c.models {
			if slices.Equal(words, fields(m)) {
				c = c.clone()
				if !sliced {
					return c, true
				}
				for _, p := range c.MIG {
					// A compute instance that is a part of a slice, "1c.3g.40gb", is not one of them.
					if strings.EqualFold(p.Name, profile) {
						return c.slice(p), true
					}
				}
				return Card{}, false
			}
		}
	}
	return Card{}, false
}

// clone makes what a caller may change his own.
func (c Card) clone() Card {
	c.Peak, c.MIG = maps.Clone(c.Peak), slices.Clone(c.MIG)
	return c
}

// fields is the words of a model's name, less those that do not tell models apart.
func fields(model string) []string {
	words := strings.FieldsFunc(strings.ToLower(model), func(r rune) bool { return strings.ContainsRune(" -_()", r) })
	return slices.DeleteFunc(words, func(w string) bool {
		return w == "nvidia" || w == "amd" || w == "tesla" || w == "geforce" || w == "radeon" || w == "instinct" || w == "graphics"
	})
}

// simple is a name without case, punctuation, and the words that do not tell models apart.
func simple(s string) string {
	return strings.ReplaceAll(strings.Join(fields(s), ""), ".", "")
}

// closest is the names that are most like one, or all where none is and there are few.
func closest(name string, names []string) []string {
	if list := nearest.Names(name, names, 5); list != nil || len(names) > 8 {
		return list
	}
	return names
}
