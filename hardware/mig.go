package hardware

import (
	"slices"
	"strings"
)

// Multiprocessors of the profiles 1g, 1g with twice the memory, 2g, 3g, 4g and 7g, as
// "nvidia-smi mig -lgip" lists them; those of a B200 are the documented shares of 1/7.
var (
	a100Units     = [6]int{14, 14, 28, 42, 56, 98}
	h100PCIeUnits = [6]int{14, 14, 30, 46, 62, 114}
	h100Units     = [6]int{16, 26, 32, 60, 64, 132}
	b200Units     = [6]int{18, 18, 36, 54, 72, 126}
)

// mig7 is the slices of a card with 7 compute slices and 8 parts of memory. The sizes are
// those in the names, for 1, 2, 4 and 8 parts; memory is what "nvidia-smi mig -lgip" lists, in
// GiB. Of an H200 and a B200 the smallest slice is, and the others at least its multiples.
func mig7(units [6]int, sizes string, memory ...float64) []Profile {
	s := strings.Fields(sizes)
	bytes := func(i int) int64 { return int64(memory[i] * gib) }
	list := []Profile{
		{Name: "1g." + s[0], Slices: 1, Parts: 1, Memory: bytes(0), Units: units[0], Max: 7, starts: []int{0, 1, 2, 3, 4, 5, 6}},
		{Name: "1g." + s[1], Slices: 1, Parts: 2, Memory: bytes(1), Units: units[1], Max: 4, starts: []int{0, 2, 4, 6}},
		{Name: "2g." + s[1], Slices: 2, Parts: 2, Memory: bytes(1), Units: units[2], Max: 3, starts: []int{0, 2, 4}},
		{Name: "3g." + s[2], Slices: 3, Parts: 4, Memory: bytes(2), Units: units[3], Max: 2, starts: []int{0, 4}},
		{Name: "4g." + s[2], Slices: 4, Parts: 4, Memory: bytes(2), Units: units[4], Max: 1, starts: []int{0}},
		{Name: "7g." + s[3], Slices: 7, Parts: 8, Memory: bytes(3), Units: units[5], Max: 1, starts: []int{0}},
	}
	for i := range list {
		list[i].Of, list[i].Whole = 7, 8
	}
	return list
}

// mig4 is the slices of a card with 4 compute slices and 4 parts of memory.
func mig4(sizes string, memory ...float64) []Profile {
	s := strings.Fields(sizes)
	return []Profile{
		{Name: "1g." + s[0], Slices: 1, Of: 4, Parts: 1, Whole: 4, Memory: int64(memory[0] * gib), Units: 14, Max: 4, starts: []int{0, 1, 2, 3}},
		{Name: "2g." + s[1], Slices: 2, Of: 4, Parts: 2, Whole: 4, Memory: int64(memory[1] * gib), Units: 28, Max: 2, starts: []int{0, 2}},
		{Name: "4g." + s[2], Slices: 4, Of: 4, Parts: 4, Whole: 4, Memory: int64(memory[2] * gib), Units: 56, Max: 1, starts: []int{0}},
	}
}

// Fit is a slice that holds a job.
type Fit struct {
	Profile Profile
	Card    Card  // the slice as a card
	Spare   int64 // bytes of it that are left
	// Jobs is how many of them run side by side, each in a slice of this profile.
	Jobs int
	// Rest is the profiles, smallest first, of which one more fits beside those and holds
	// the job, too; it computes less.
	Rest []string
}

// Advise is the slices of a card that hold a job that needs so many bytes, those first of
// which most run side by side, and of those the ones that compute most. It is empty if the
// card cannot be cut, or no slice holds the job.
func Advise(c Card, need int64) []Fit {
	var fits []Fit
	for _, p := range c.MIG {
		if p.Memory < need {
			continue
		}
		f := Fit{Profile: p, Card: c.slice(p), Spare: p.Memory - need, Jobs: p.Max}
		for _, q := range c.MIG {
			if q.Memory >= need && q.Name != p.Name && q.Slices < p.Slices && Arrange(append(slices.Repeat([]Profile{p}, p.Max), q)) {
				f.Rest = append(f.Rest, q.Name)
			}
		}
		fits = append(fits, f)
	}
	slices.SortStableFunc(fits, func(a, b Fit) int {
		if a.Jobs != b.Jobs {
			return b.Jobs - a.Jobs
		}
		return b.Profile.Units - a.Profile.Units
	})
	return fits
}

// Arrange tells whether slices of one card fit on it side by side. They need compute slices
// and parts of the memory, and the parts of a slice are neighbours that begin where its
// profile may: two slices 3g take all of the memory, and leave a compute slice that nobody
// can have.
func Arrange(list []Profile) bool {
	compute := 0
	for _, p := range list {
		compute += p.Slices
	}
	if len(list) == 0 {
		return true
	}
	if compute > list[0].Of {
		return false
	}
	// The largest have the least choice.
	list = slices.SortedStableFunc(slices.Values(list), func(a, b Profile) int { return b.Parts - a.Parts })
	var place func(list []Profile, taken uint) bool
	place = func(list []Profile, taken uint) bool {
		if len(list) == 0 {
			return true
		}
		for _, at := range list[0].starts {
			parts := uint(1)<<list[0].Parts - 1
			if taken&(parts<<at) == 0 && place(list[1:], taken|parts<<at) {
				return true
			}
		}
		return false
	}
	return place(list, 0)
}
