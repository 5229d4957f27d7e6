// Package nvmltest is an NVML for tests on machines without an NVIDIA device: a library of
// C++ that g++ compiles when the test runs, and that is opened as the real one would be.
//
//	dir := nvmltest.Use(t, nvmltest.RTX3080)      // this process finds it
//	nvmltest.Write(t, dir, nvmltest.RTX3080+"\ttemperature 95\n")
//	nvmltest.Limits(t, dir)                       // power limits that were set
//
// A command that a test runs finds it by the environment variable SINTER_LIBRARY_PATH; see
// Environment.
//
// # Scenarios
//
// What the library says stands in a scenario, a text that may be written anew at any time:
//
//	driver 580.65.06
//	cuda 13000
//	device GPU-1 NVIDIA GeForce RTX 3080
//		power 250000
//		temperature ramp 60 5
//		ecc_corrected unsupported
//		process 4711 1073741824
//		xid 79 after 3
//		lost after 5
//	device GPU-2 NVIDIA A100-SXM4-80GB
//		mig 1
//		slice MIG-1 NVIDIA A100-SXM4-80GB MIG 1g.10gb
//			memory 10200547328 0 2147483648
//
// A device, or a slice of the device before it, begins with its UUID and name, and has
// values below, in the units of NVML:
//
//	pci 00000000:3B:00.0     capability MAJOR MINOR       minor N
//	utilization GPU MEMORY   memory TOTAL RESERVED USED   temperature, slowdown, shutdown, memory_temperature °C
//	power mW                 power_instant mW             energy mJ
//	limit mW                 enforced mW                  default mW    constraints MIN MAX
//	clock_graphics, clock_sm, clock_memory MHz            max_sm, max_memory MHz
//	pcie GENERATION WIDTH    pcie_max GENERATION WIDTH    pcie_sent, pcie_received kB/s
//	reasons 0x4              persistence 0|1              mig 0|1
//	ecc 0|1                  ecc_corrected N              ecc_uncorrected N
//	set nopermission         processes nopermission       events unsupported
//
// What is not there is not supported. Instead of its numbers a value may have
//
//	unsupported
//	nopermission
//	error N                  the status N
//	ramp START STEP          that much more with every reading
//	rate START PER_SECOND    that much more with every second since the scenario was written
//
// A reading is a call for a device's power. "lost" is a device that is lost from the beginning,
// "lost after N" one that is after N readings, and "xid X after N" an error that the driver tells
// then. A line "init N" before all devices makes nvmlInit return N.
package nvmltest

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl/dltest"
	"github.com/sinter-dl/sinter/internal/dl/find"
)

//go:embed src/nvml.cc
var source string

// RTX3080 is one device, which tells what a GeForce card tells.
const RTX3080 = `driver 580.65.06
cuda 13000
device GPU-3080 NVIDIA GeForce RTX 3080
	pci 00000000:01:00.0
	capability 8 6
	utilization 97 40
	memory 10737418240 314572800 6442450944
	power 250000
	energy rate 1000000 250000
	limit 320000
	default 320000
	constraints 100000 350000
	temperature 65
	slowdown 95
	clock_graphics 1710
	clock_sm 1710
	clock_memory 9501
	max_sm 2100
	max_memory 9501
	pcie 4 16
	pcie_max 4 16
	pcie_sent 2000
	pcie_received 300000
	reasons 0x4
	persistence 0
`

// A100 is a device that is cut into three slices.
const A100 = `driver 580.65.06
cuda 13000
device GPU-a100 NVIDIA A100-SXM4-80GB
	pci 00000000:3B:00.0
	capability 8 0
	memory 85899345920 629145600 4294967296
	power 180000
	energy rate 5000000 180000
	limit 400000
	default 400000
	constraints 100000 400000
	temperature 45
	memory_temperature 51
	slowdown 92
	clock_graphics 1410
	clock_sm 1410
	clock_memory 1593
	max_sm 1410
	max_memory 1593
	pcie 4 16
	pcie_max 4 16
	pcie_sent 1000
	pcie_received 2000
	reasons 0x1
	persistence 1
	ecc 1
	ecc_corrected 2
	ecc_uncorrected 0
	mig 1
	slice MIG-1 NVIDIA A100-SXM4-80GB MIG 3g.40gb
		memory 42144366592 0 3221225472
		process 100 3221225472
	slice MIG-2 NVIDIA A100-SXM4-80GB MIG 1g.10gb
		memory 10200547328 0 1073741824
	slice MIG-3 NVIDIA A100-SXM4-80GB MIG 1g.10gb
		memory 10200547328 0 0
`

// library is the compiled library, once for all tests of a process.
var library struct {
	sync.Mutex
	text []byte
}

// Build is a folder with the library and a scenario. The test is skipped where there is no
// g++, or where this build cannot open libraries.
func Build(t testing.TB, scenario string) (dir string) {
	t.Helper()
	library.Lock()
	defer library.Unlock()
	if library.text == nil {
		text, err := os.ReadFile(dltest.Library(t, "libnvidia-ml.so.1", source))
		if err != nil {
			t.Fatal(err)
		}
		library.text = text
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "libnvidia-ml.so.1"), library.text, 0o777); err != nil {
		t.Fatal(err)
	}
	Write(t, dir, scenario)
	return dir
}

// Write gives the library of a folder another scenario.
func Write(t testing.TB, dir, scenario string) {
	t.Helper()
	file := filepath.Join(dir, "scenario")
	if err := os.WriteFile(file+".new", []byte(scenario), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// Use is Build, and this process, with those that it starts, finds no other library.
func Use(t *testing.T, scenario string) (dir string) {
	t.Helper()
	dir = Build(t, scenario)
	name, value, _ := strings.Cut(Environment(dir), "=")
	t.Setenv(name, value)
	return dir
}

// Environment is NAME=VALUE for a process that is to find the library of a folder, and no
// other one.
func Environment(dir string) string {
	return find.Variable + "=" + dir + string(os.PathListSeparator) + find.None
}

// Limits is the power limits that were set, in order, each as "UUID milliwatts".
func Limits(t testing.TB, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "limits"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		list = append(list, strings.TrimSpace(line))
	}
	return list
}
