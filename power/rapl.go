package power

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// zone is a domain of RAPL, the counters of energy in Intel's and AMD's processors, as Linux
// shows them in /sys/class/powercap.
type zone struct {
	name string // "cpu package 0", "memory 0"
	file string // energy_uj
	max  float64
	last float64 // J
	at   time.Time
}

// findRAPL is the domains that add up to what processors and memory take: the packages, and
// their memory where it is counted. Cores and the graphics unit are within a package, and the
// platform (psys) has packages and more in it. why says what is missing where there are none.
func findRAPL(root string) (zones []*zone, why string) {
	dir := filepath.Join(cmpRoot(root), "sys/class/powercap")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil, raplProblem(root, dir, err)
	}
	if err != nil {
		return nil, fmt.Sprintf("RAPL is not there: no %s. A virtual machine has none; on a real one, sudo modprobe intel_rapl_msr may bring it", shown(root, dir))
	}
	seen := make(map[string]bool)
	for _, e := range entries {
		// intel-rapl:0 is a package, intel-rapl:0:1 a domain in it. AMD's have Intel's name too.
		// What intel-rapl-mmio has is the same counters by another way.
		numbers, ok := strings.CutPrefix(e.Name(), "intel-rapl:")
		if !ok {
			continue
		}
		name, err := os.ReadFile(filepath.Join(dir, e.Name(), "name"))
		if err != nil {
			continue
		}
		kind, id, _ := strings.Cut(strings.TrimSpace(string(name)), "-")
		z := &zone{file: filepath.Join(dir, e.Name(), "energy_uj")}
		switch {
		case kind == "package":
			z.name = "cpu package " + id
		case kind == "dram" && strings.Contains(numbers, ":"):
			parent, _ := os.ReadFile(filepath.Join(dir, "intel-rapl:"+numbers[:strings.Index(numbers, ":")], "name"))
			_, id, _ := strings.Cut(strings.TrimSpace(string(parent)), "-")
			z.name = "memory " + id
		default:
			continue
		}
		if seen[z.name] {
			continue
		}
		seen[z.name] = true
		if z.last, err = readJoules(z.file); err != nil {
			return nil, raplProblem(root, z.file, err)
		}
		if z.max, err = readJoules(filepath.Join(dir, e.Name(), "max_energy_range_uj")); err != nil {
			z.max = 0 // then a counter that goes back has been set back
		}
		zones = append(zones, z)
	}
	if len(zones) == 0 {
		return nil, fmt.Sprintf("RAPL is not there: %s has no package; a virtual machine has none as a rule", shown(root, dir))
	}
	slices.SortFunc(zones, func(a, b *zone) int { return strings.Compare(a.name, b.name) })
	return zones, ""
}

// raplProblem says which permission is missing.
func raplProblem(root, file string, err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("RAPL: %s may be read by root alone since CVE-2020-8694; let this user read it, sudo chmod o+r /sys/class/powercap/intel-rapl:*/energy_uj /sys/class/powercap/intel-rapl:*:*/energy_uj (until the next start), or for good by the udev rule in docs/energy.md", shown(root, file))
	}
	return fmt.Sprintf("RAPL: %s: %v", shown(root, file), err)
}

// shown is a path as it is on the machine.
func shown(root, path string) string {
	if root != "" {
		return "/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
	}
	return path
}

func cmpRoot(root string) string {
	if root == "" {
		return "/"
	}
	return root
}

// readJoules reads a number of microjoules.
func readJoules(file string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	uj, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", strings.TrimSpace(string(text)))
	}
	return float64(uj) / 1e6, nil
}

// mostWatts is more than any socket takes.
const mostWatts = 2000

func (z *zone) advance(now time.Time) (joules, watts float64, note string, err error) {
	j, err := readJoules(z.file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = &goneError{err}
		}
		return 0, 0, "", err
	}
	dt := now.Sub(z.at).Seconds()
	d := j - z.last
	if d < 0 {
		d += z.max // it has wrapped around
		if d < 0 || d > mostWatts*max(dt, 1) {
			// Or it was set back, as after sleep: then what it has counted since is all that is known.
			d, note = min(j, mostWatts*max(dt, 0)), "the counter was set back, and what was consumed before it was is not counted"
		}
	}
	z.last, z.at = j, now
	if dt > 0 {
		watts = d / dt
	}
	return d, watts, note, nil
}
