package telemetry

import (
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl"
)

// Names that CUDA gives, where they can be told.
func TestNames(t *testing.T) {
	devices := func() []Reading {
		var list []Reading
		for _, uuid := range []string{"GPU-aaaa", "GPU-bbbb", "GPU-cccc"} {
			list = append(list, Reading{UUID: uuid, Vendor: "nvidia"})
		}
		return append(list, Reading{UUID: "GPU-dddd", Vendor: "amd"})
	}
	for _, c := range []struct{ order, visible, want string }{
		{"", "unset", "gpu 0, gpu 1, gpu 2, gpu 3"}, // the fastest would be the first
		{"PCI_BUS_ID", "unset", "cuda:0, cuda:1, cuda:2, gpu 3"},
		{"PCI_BUS_ID", "2,0", "cuda:1, gpu 1, cuda:0, gpu 3"},
		{"PCI_BUS_ID", "2,-1,0", "gpu 0, gpu 1, cuda:0, gpu 3"},
		{"", "2,0", "gpu 0, gpu 1, gpu 2, gpu 3"},
		{"", "GPU-cccc,GPU-aaaa", "cuda:1, gpu 1, cuda:0, gpu 3"},
		{"", "GPU-c", "gpu 0, gpu 1, cuda:0, gpu 3"},
		{"", "", "gpu 0, gpu 1, gpu 2, gpu 3"},
	} {
		t.Run(c.order+" "+c.visible, func(t *testing.T) {
			t.Setenv("CUDA_DEVICE_ORDER", c.order)
			t.Setenv("CUDA_VISIBLE_DEVICES", c.visible)
			if c.visible == "unset" {
				unset(t, "CUDA_VISIBLE_DEVICES")
			}
			list := devices()
			(&Monitor{}).name(list)
			var names []string
			for _, r := range list {
				names = append(names, r.Device)
			}
			if got := strings.Join(names, ", "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	list := devices()
	(&Monitor{names: map[string]string{"GPU-bbbb": "cuda:0", "GPU-dddd": "opencl:0"}}).name(list)
	if list[1].Device != "cuda:0" || list[3].Device != "opencl:0" {
		t.Errorf("%+v", list)
	}
}

// A build that cannot open libraries says so, and reads AMD's cards even so.
func TestWithoutLibraries(t *testing.T) {
	if dl.Supported() == nil {
		t.Skip("this build opens libraries")
	}
	m, err := Open(Options{Root: amdTree(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if p := m.Problems(); len(p) != 1 || !strings.Contains(p[0], "NVML cannot be asked: shared libraries cannot be opened") {
		t.Errorf("%q", p)
	}
	if list := m.Read(); len(list) != 2 || !list[1].Power.OK {
		t.Errorf("%+v", list)
	}
}
