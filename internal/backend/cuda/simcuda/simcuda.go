// Package simcuda is a simulated NVIDIA machine for tests: replacements of libcuda and
// NVRTC in C++, which g++ builds when a test runs.
//
//	src/sim.h      what kernels see: CUDA's names
//	src/kernel.cc  running a kernel, every thread of a block a fiber
//	src/driver.cc  devices, contexts, memory, streams, events, modules, graphs, faults on demand
//	src/nvrtc.cc   the compiler, which calls g++
//
// Everything above them, the bindings, the allocator, graphs, the handling of errors,
// runs as it does with NVIDIA's libraries. What the simulation is strict about, and a card
// would let pass most of the time, is in the comments of driver.cc and kernel.cc. What
// it does not have: time, textures, managed memory, clusters, more than one stream in a
// capture.
package simcuda

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/testenv"
)

//go:embed src/sim.h
var simH string

//go:embed src/kernel.h
var kernelH string

//go:embed src/kernel.cc
var kernelCC string

//go:embed src/driver.cc
var driverCC string

//go:embed src/nvrtc.cc
var nvrtcCC string

// Machine is the libraries, and what tests may do with them beyond what NVIDIA's can.
type Machine struct {
	Dir    string // the folder that holds them, for the environment variable SINTER_LIBRARY_PATH
	Driver string // libcuda.so.1
	NVRTC  string // libnvrtc.so.12

	driver, nvrtc struct {
		once sync.Once
		lib  *dl.Library
		err  error
	}
}

var built sync.Map // by what was left out

// Require builds the libraries. Without g++ the test is skipped, or fails if SINTER_REQUIRE
// names g++.
func Require(t testing.TB, without ...string) *Machine {
	t.Helper()
	compiler := compiler()
	_, err := exec.LookPath(compiler)
	ok := err == nil && runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") && dl.Supported() == nil
	testenv.Require(t, "g++", ok, "the simulated driver is built by "+compiler+" for Linux, on amd64 or arm64")
	type result struct {
		m   *Machine
		err error
	}
	once, _ := built.LoadOrStore(strings.Join(without, " "), sync.OnceValue(func() result {
		m, err := build(compiler, without)
		return result{m, err}
	}))
	r := once.(func() result)()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.m
}

func compiler() string {
	if c := os.Getenv("CXX"); c != "" {
		return c
	}
	return "g++"
}

// build compiles the libraries into a folder that is named after their sources, so that
// the next test finds them there. Functions whose names are in without are not exported.
func build(compiler string, without []string) (*Machine, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "sinter", "simcuda")
	sum := sha256.Sum256([]byte(strings.Join(append([]string{compiler, simH, kernelH, kernelCC, driverCC, nvrtcCC}, without...), "\x00")))
	dir := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	m := &Machine{Dir: dir, Driver: filepath.Join(dir, "libcuda.so.1"), NVRTC: filepath.Join(dir, "libnvrtc.so.12")}
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		prune(cache, filepath.Join(dir, "kernels"))
		now := time.Now()
		os.Chtimes(dir, now, now)
		return m, nil
	}
	work := fmt.Sprintf("%s.%d", dir, os.Getpid())
	defer os.RemoveAll(work)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"sim.h": simH, "kernel.h": kernelH, "kernel.cc": kernelCC, "driver.cc": driverCC, "nvrtc.cc": nvrtcCC} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	common := []string{"-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-U_FORTIFY_SOURCE"}
	for _, name := range without {
		common = append(common, "-D"+name+"=without_"+name)
	}
	var wait sync.WaitGroup
	errs := make([]error, 2)
	for i, args := range [][]string{
		{"-o", "libcuda.so.1", "kernel.cc", "driver.cc", "-ldl", "-lpthread"},
		{"-o", "libnvrtc.so.12", "nvrtc.cc", "-ldl", "-lpthread"},
	} {
		wait.Go(func() {
			cmd := exec.Command(compiler, append(append([]string{}, common...), args...)...)
			cmd.Dir = work
			if out, err := cmd.CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("simcuda: %v: %w\n%s", cmd.Args, err, out)
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	// Whoever opens NVRTC looks for this beside it.
	if err := os.Symlink("libnvrtc.so.12", filepath.Join(work, "libnvrtc-builtins.so.12.8")); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(work, "complete"), nil, 0o644); err != nil {
		return nil, err
	}
	if err := os.Rename(work, dir); err != nil {
		if _, other := os.Stat(filepath.Join(dir, "complete")); other != nil { // no other process was faster
			return nil, err
		}
	}
	return m, nil
}

// prune removes what no test has used for days.
func prune(folders ...string) {
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > 7*24*time.Hour {
				os.RemoveAll(filepath.Join(folder, e.Name()))
			}
		}
	}
}

func (m *Machine) call(compiler bool, name string, args ...uintptr) uintptr {
	l, path := &m.driver, m.Driver
	if compiler {
		l, path = &m.nvrtc, m.NVRTC
	}
	l.once.Do(func() { l.lib, l.err = dl.Open(path) })
	if l.err != nil {
		panic(l.err)
	}
	f, err := l.lib.Lookup(name)
	if err != nil {
		panic(err)
	}
	return f.Call(args...)
}

// Configure makes a new machine of what the text says, as driver.cc describes it. What was
// made on the old one must not be used any more.
func (m *Machine) Configure(text string) {
	if m.call(false, "simConfigure", uintptr(unsafe.Pointer(dl.CString(text)))) != 0 {
		panic("simcuda: not a configuration: " + text)
	}
}

// Change changes seed, execute and the faults to come of the machine that there is.
func (m *Machine) Change(text string) {
	if m.call(false, "simChange", uintptr(unsafe.Pointer(dl.CString(text)))) != 0 {
		panic("simcuda: not a configuration: " + text)
	}
}

// Compiler says what the compiler is: "version=12.8;archs=70,80,90".
func (m *Machine) Compiler(text string) {
	m.call(true, "simCompiler", uintptr(unsafe.Pointer(dl.CString(text))))
}

// Compiled is how often the compiler has called g++.
func (m *Machine) Compiled() int { return int(m.call(true, "simCompiled")) }

// Count is how often something has happened on this machine: "launches", "graphs",
// "kernels" that ran, "allocs", "syncs", "trims", "updates" of graphs, "nodes" of graphs
// that were changed, "overruns"; or how much there is: "live" allocations, "modules",
// "instantiated" graphs, bytes "used", and their "peak".
func (m *Machine) Count(what string) int {
	return int(m.call(false, "simCount", uintptr(unsafe.Pointer(dl.CString(what)))))
}

// Log is what went wrong since the last call.
func (m *Machine) Log() string {
	buf := make([]byte, 1<<16)
	n := m.call(false, "simLog", uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return string(buf[:int32(n)])
}
