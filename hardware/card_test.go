package hardware

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for name, key := range map[string]string{
		"h100-sxm": "h100-sxm", "H100 SXM": "h100-sxm", "NVIDIA H100 SXM": "h100-sxm", "rtx4090": "rtx-4090", "RTX 4090": "rtx-4090", "GeForce RTX 3080": "rtx-3080", "RTX 3080": "rtx-3080", "Tesla T4": "t4", "NVIDIA H100 80GB HBM3": "h100-sxm", "Radeon RX 6800 XT": "rx-6800-xt", "MI300X": "mi300x",
		"a100-80gb/1g.10gb": "a100-80gb/1g.10gb", "A100-80GB/3G.40GB": "a100-80gb/3g.40gb",
	} {
		c, err := Find(name)
		if err != nil || c.Key != key {
			t.Errorf("%q is %q (%v), want %q", name, c.Key, err, key)
		}
	}
	for name, want := range map[string]string{
		"h100":              `there is no device "h100"; the nearest names are h100-pcie, h100-sxm`,
		"h10":               "h100-pcie",
		"rx-6800":           "rx-6800-xt",
		"a100-80gb/1g.11gb": `there is no slice of NVIDIA A100 SXM 80GB "a100-80gb/1g.11gb"; the nearest names are a100-80gb/1g.10gb`,
		"t4/1g.5gb":         `there is no slice of NVIDIA T4 "t4/1g.5gb"`,
		"":                  `there is no device ""`,
	} {
		_, err := Find(name)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

// A slice has its part of everything.
func TestSlice(t *testing.T) {
	c, err := Find("a100-80gb/3g.40gb")
	if err != nil {
		t.Fatal(err)
	}
	if c.Units != 42 || c.Power != 400*3./7 || c.Bandwidth != 2039e9/2 || c.Slice == nil || c.Slice.Name != "3g.40gb" || len(c.MIG) != 0 || c.Peak["fp16"] != 312e12*42/108 {
		t.Errorf("%+v", c)
	}
	if whole, _ := Find("a100-80gb"); whole.Peak["fp16"] != 312e12 {
		t.Errorf("the slice has changed the card: %v", whole.Peak)
	}
}

func TestMatch(t *testing.T) {
	for model, key := range map[string]string{
		"NVIDIA H100 80GB HBM3": "h100-sxm", "NVIDIA H100 PCIe": "h100-pcie", "NVIDIA A100-SXM4-80GB": "a100-80gb", "NVIDIA A100 80GB PCIe": "a100-pcie-80gb",
		"Tesla V100-SXM2-32GB": "v100-32gb", "Tesla T4": "t4", "NVIDIA GeForce RTX 3080": "rtx-3080", "GeForce RTX 3080": "rtx-3080", "NVIDIA GeForce RTX 3080 Ti": "",
		"NVIDIA GeForce RTX 3080 Laptop GPU": "", "AMD Radeon RX 6800 XT": "rx-6800-xt", "NVIDIA A100-SXM4-80GB MIG 1g.10gb": "a100-80gb/1g.10gb", "NVIDIA A100-SXM4-80GB MIG 1c.3g.40gb": "",
		"NVIDIA B200": "b200", "": "", "gfx1030": "", "NVIDIA A10": "a10", "NVIDIA A10G": "", "NVIDIA L4": "l4", "NVIDIA L40": "",
	} {
		c, ok := Match(model)
		if c.Key != key || ok != (key != "") {
			t.Errorf("%q is %q, want %q", model, c.Key, key)
		}
	}
}

// Figures hang together: no type is faster than a narrower one, each card says where its
// figures are from, keys and names of drivers are of one card only.
func TestCatalogue(t *testing.T) {
	keys, models := make(map[string]bool), make(map[string]bool)
	for _, c := range Catalogue() {
		if keys[simple(c.Key)] || keys[simple(c.Name)] {
			t.Errorf("%s twice", c.Key)
		}
		keys[simple(c.Key)], keys[simple(c.Name)] = true, true
		for _, m := range c.models {
			if models[m] {
				t.Errorf("%s twice", m)
			}
			models[m] = true
			if got, _ := Match(m); got.Key != c.Key {
				t.Errorf("%s matches %q, not %s", m, got.Key, c.Key)
			}
			if got, err := Find(m); got.Key != c.Key {
				t.Errorf("%s is found as %q, not %s (%v)", m, got.Key, c.Key, err)
			}
		}
		if c.Source == "" || c.Memory <= 0 || c.Bandwidth <= 0 || c.Units <= 0 || c.Power <= 0 || c.Idle <= 0 || c.Idle > c.Power/4 || c.Peak["fp32"] <= 0 {
			t.Errorf("%+v", c)
		}
		order := []string{"fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8"}
		last := 0.0
		for _, d := range order {
			if r, ok := c.Peak[d]; ok {
				if r < last {
					t.Errorf("%s: %s at %g is slower than what is wider, %g", c.Key, d, r, last)
				}
				last = r
			}
			if _, ok := c.Rate(d); !ok && d != "fp64" {
				t.Errorf("%s has no rate for %s", c.Key, d)
			}
		}
		if nvidia := c.Vendor == "nvidia"; nvidia != (c.Capability > 0) || nvidia != (c.CUDA != Range{}) {
			t.Errorf("%s: %+v", c.Key, c)
		}
		for _, p := range c.MIG {
			s, err := Find(c.Key + "/" + p.Name)
			if err != nil || s.Memory <= 0 || s.Memory > c.Memory*int64(p.Parts)/int64(p.Whole) || s.Units > c.Units || !Arrange(slices.Repeat([]Profile{p}, p.Max)) || Arrange(slices.Repeat([]Profile{p}, p.Max+1)) {
				t.Errorf("%s: %v", s.Key, err)
			}
		}
	}
	c, _ := Find("v100-32gb")
	if r, _ := c.Rate("bf16"); r != 15.7e12 {
		t.Errorf("bf16 on a V100: %g", r)
	}
}

// What the MIG user guide's picture of an A100 allows, and what it does not.
func TestAdvise(t *testing.T) {
	c, _ := Find("a100-80gb")
	of := func(names ...string) (list []Profile) {
		for _, n := range names {
			i := slices.IndexFunc(c.MIG, func(p Profile) bool { return p.Name == n })
			list = append(list, c.MIG[i])
		}
		return list
	}
	for _, ok := range [][]string{
		{"4g.40gb", "3g.40gb"}, {"3g.40gb", "3g.40gb"}, {"4g.40gb", "2g.20gb", "1g.10gb"}, {"2g.20gb", "2g.20gb", "2g.20gb", "1g.20gb"}, {"3g.40gb", "1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb"},
		{"3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"}, {"7g.80gb"}, {},
	} {
		if !Arrange(of(ok...)) {
			t.Errorf("%v do not fit", ok)
		}
	}
	for _, bad := range [][]string{
		{"3g.40gb", "3g.40gb", "1g.10gb"}, // no memory is left
		{"7g.80gb", "1g.10gb"}, {"4g.40gb", "4g.40gb"}, {"2g.20gb", "2g.20gb", "2g.20gb", "2g.20gb"}, {"1g.20gb", "1g.20gb", "1g.20gb", "1g.20gb", "1g.10gb"},
	} {
		if Arrange(of(bad...)) {
			t.Errorf("%v fit", bad)
		}
	}
	fits := Advise(c, 12<<30)
	var got []string
	for _, f := range fits {
		got = append(got, f.Profile.Name)
	}
	if want := []string{"1g.20gb", "2g.20gb", "3g.40gb", "7g.80gb", "4g.40gb"}; !slices.Equal(got[:3], want[:3]) || len(got) != 5 {
		t.Errorf("12 GiB: %v, want %v", got, want)
	}
	if f := fits[0]; f.Jobs != 4 || f.Spare <= 0 {
		t.Errorf("%+v", f)
	}
	if f := fits[1]; f.Jobs != 3 || !slices.Equal(f.Rest, []string{"1g.20gb"}) {
		t.Errorf("%+v", f)
	}
	if Advise(c, 100<<30) != nil {
		t.Error("more than there is")
	}
	v100, _ := Find("v100-32gb")
	if Advise(v100, 1) != nil {
		t.Error("a V100 cannot be cut")
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		r    Range
		v    string
		want bool
	}{
		{Range{"9.0", "12.9"}, "12.9", true}, {Range{"9.0", "12.9"}, "12.9.1", true}, {Range{"9.0", "12.9"}, "13.0", false}, {Range{"9.0", "12.9"}, "8.0", false},
		{Range{"", "580"}, "580.95.05", true}, {Range{"", "580"}, "590.1", false}, {Range{"525.60.13", ""}, "525.60.2", false}, {Range{"525.60.13", ""}, "550", true}, {Range{}, "1", true}, {Range{"", "9.10"}, "9.10.2.21", true}, {Range{"", "9.10"}, "9.11.0", false},
	} {
		if got := c.r.Contains(c.v); got != c.want {
			t.Errorf("%v contains %s: %v", c.r, c.v, got)
		}
	}
}

func TestCheck(t *testing.T) {
	problems := func(card, driver, cuda, cudnn string) string {
		c, err := Find(card)
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, f := range Check(c, driver, cuda, cudnn) {
			if f.Verdict != OK {
				s = append(s, f.Subject+": "+f.Evidence+" -> "+f.Remedy)
			}
			if (f.Verdict == OK) != (f.Remedy == "") || f.Evidence == "" {
				t.Errorf("%+v", f)
			}
		}
		return strings.Join(s, "\n")
	}
	for _, fine := range [][4]string{
		{"v100-32gb", "580.95.05", "12.9", "9.10.2"}, {"h100-sxm", "580.65.06", "13.0", "9.13.0"}, {"h100-sxm", "535.1.2", "12.2", "9.1"}, {"rx-6800-xt", "", "", ""}, {"b200", "", "", ""},
	} {
		if p := problems(fine[0], fine[1], fine[2], fine[3]); p != "" {
			t.Errorf("%v: %s", fine, p)
		}
	}
	p := problems("v100-32gb", "580.95.05", "13.0", "9.13.0")
	for _, want := range []string{"cuda: libraries of CUDA 13.0; those for compute capability 7.0 are 9.0 to 12.9 -> install CUDA 9.0 to 12.9: pip install nvidia-cuda-nvrtc-cu12", `cudnn: cuDNN 9.13.0`, `"nvidia-cudnn-cu12<9.11"`} {
		if !strings.Contains(p, want) {
			t.Errorf("a V100 with CUDA 13: %s\nwant %s", p, want)
		}
	}
	if p := problems("v100-32gb", "590.44", "", ""); !strings.Contains(p, "install a driver of the branch 580, which is the last with this card") {
		t.Errorf("a V100 with a driver that is too new: %s", p)
	}
	if p := problems("h100-sxm", "550.54.15", "13.0", ""); !strings.Contains(p, "driver for cuda: CUDA 13 wants driver 580 or later; there is 550.54.15 -> install driver 580 or later, or libraries of CUDA 12") {
		t.Errorf("an old driver: %s", p)
	}
	if p := problems("b200", "550.54.15", "12.4", ""); !strings.Contains(p, "12.8 or later") || !strings.Contains(p, "install a driver of version 570.26 or later") {
		t.Errorf("a B200 with too old a driver: %s", p)
	}
}

// Two cards and a processor by hand: (2·320 + 125 + 100)/0.8.
func TestSupply(t *testing.T) {
	if w := Supply([]float64{320, 320}, 125); w != 1081.25 {
		t.Error(w)
	}
}
