package power

import (
	"encoding/csv"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

func TestFindCPU(t *testing.T) {
	for model, want := range map[string]string{
		"AMD EPYC 7763 64-Core Processor":                "EPYC 7763",
		"AMD EPYC 7B13":                                  "EPYC 7B13",
		"AMD EPYC 9R14":                                  "EPYC 9R14",
		"Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz":      "Xeon E5-2686 v4",
		"Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz":      "Xeon E5-2680 v3",
		"Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz":  "Xeon Platinum 8375C",
		"Intel(R) Xeon(R) Platinum 8480+":                "Xeon Platinum 8480+",
		"Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz":      "Xeon Gold 6248R",
		"INTEL(R) XEON(R) 6980P":                         "Xeon 6980P",
		"Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz":       "Core i7-8700K",
		"12th Gen Intel(R) Core(TM) i9-12900K":           "Core i9-12900K",
		"Intel(R) Core(TM) Ultra 9 285K":                 "Core Ultra 9 285K",
		"AMD Ryzen 9 5950X 16-Core Processor":            "Ryzen 9 5950X",
		"AMD Ryzen 7 5800H with Radeon Graphics":         "Ryzen 7 5800H",
		"AMD Ryzen Threadripper 3990X 64-Core Processor": "Ryzen Threadripper 3990X",
		"AMD Ryzen Threadripper PRO 5995WX 64-Cores":     "Ryzen Threadripper PRO 5995WX",
		"Apple M1 Pro":                                   "Apple M1 Pro",
		"Apple M1":                                       "Apple M1",
		"ARM Neoverse N1":                                "Neoverse N1",
		"Neoverse-V2":                                    "Neoverse V2",
		"Ampere-1":                                       "Ampere-1",
		"Intel(R) Xeon(R) Processor":                     "",
		"Intel(R) Xeon(R) CPU @ 2.20GHz":                 "",
		"AMD EPYC-Rome Processor":                        "",
		"QEMU Virtual CPU version 2.5+":                  "",
		"":                                               "",
		"AMD Ryzen 9 7950X3D 16-Core Processor":          "Ryzen 9 7950X3D",
		"Intel(R) Xeon(R) CPU E5-2680 v9 @ 2.50GHz":      "",
	} {
		c, ok := FindCPU(model)
		if c.Name != want || ok != (want != "") {
			t.Errorf("%q is %q, want %q", model, c.Name, want)
		}
	}
}

// Where another list has the same model, it has nearly the same power: 97 of 100 of the
// models that vendors publish within 5 %, estimates within a factor of 2.
func TestCPUsAgainstReference(t *testing.T) {
	f, err := os.Open(testenv.SharedData(t, "energy", "cpu_power.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	ref := make(map[string][]float64)
	for _, r := range rows[1:] {
		w, err := strconv.ParseFloat(r[1], 64)
		if err != nil {
			continue
		}
		name := strings.NewReplacer("Intel ", "", "AMD ", "", " X-series", "").Replace(r[0])
		key := strings.Join(cpuWords(name), " ")
		ref[key] = append(ref[key], w)
	}
	both, near := 0, 0
	for key, c := range cpus {
		list, ok := ref[key]
		if !ok {
			continue
		}
		w := slices.MinFunc(list, func(a, b float64) int { return int(math.Abs(a-c.Watts)*100) - int(math.Abs(b-c.Watts)*100) })
		if c.Estimated {
			if math.Abs(w-c.Watts) > 0.5*max(w, c.Watts) {
				t.Errorf("%s: %g W estimated, the reference has %g", c.Name, c.Watts, w)
			}
			continue
		}
		both++
		if math.Abs(w-c.Watts) <= 0.05*w {
			near++
		} else {
			t.Logf("%s: %g W, the reference has %v", c.Name, c.Watts, list)
		}
	}
	t.Logf("%d processors, %d of %d as in the reference", len(cpus), near, both)
	if both < 200 || float64(near) < 0.97*float64(both) {
		t.Errorf("%d of %d processors agree with the reference", near, both)
	}
}

// By hand: at full load all of the TDP, idle a tenth, at half load 0.1 + 0.9(1 - 0.5^1.4) = 0.658964.
func TestLoadWatts(t *testing.T) {
	for u, want := range map[float64]float64{0: 10, 1: 100, 0.5: 65.8964, -1: 10, 3: 100} {
		if got := loadWatts(100, u); math.Abs(got-want) > 1e-4 {
			t.Errorf("at load %g: %g W, want %g", u, got, want)
		}
	}
	for u := 0.0; u < 1; u += 0.01 {
		if loadWatts(100, u) >= loadWatts(100, u+0.01) {
			t.Errorf("power falls at load %g", u)
		}
	}
}

func TestCPUModel(t *testing.T) {
	for _, c := range []struct {
		model            string
		sockets, threads int
		usable           float64
		shared           bool
		want             float64
		source           string
	}{
		{"AMD EPYC 7763 64-Core Processor", 2, 256, 0, false, 560, "2 × EPYC 7763"},
		{"AMD EPYC 7763 64-Core Processor", 1, 64, 0, false, 280, "EPYC 7763"},   // one thread a core
		{"AMD EPYC 7763 64-Core Processor", 2, 256, 64, false, 140, ""},          // a container with a quarter
		{"AMD EPYC 7763 64-Core Processor", 1, 32, 0, true, 70, "32 of its 128"}, // a virtual machine
		{"Intel(R) Xeon(R) Processor", 1, 2, 0, true, 8, "4 W for each of 2 threads"},
		{"", 0, 0, 0, false, 4, "not known"},
		{"AMD EPYC 7B13", 1, 8, 0, true, 225.0 / 16, "estimated"},
	} {
		w, source := cpuModel(c.model, c.sockets, c.threads, c.usable, c.shared)
		if math.Abs(w-c.want) > 1e-9 || !strings.Contains(source, c.source) {
			t.Errorf("%+v: %g W, %s", c, w, source)
		}
	}
}

func TestMemoryWatts(t *testing.T) {
	for gib, want := range map[float64]float64{7.7: 5, 15.5: 10, 31.2: 20, 62.7: 20, 125: 40, 503: 80, 1007: 80, 0.5: 5} {
		if w, _ := memoryWatts(int64(gib*(1<<30)), false); w != want {
			t.Errorf("%g GiB: %g W, want %g", gib, w, want)
		}
	}
	if w, _ := memoryWatts(8<<30, true); w != 1.25 {
		t.Errorf("8 GiB of a shared machine: %g W", w)
	}
}
