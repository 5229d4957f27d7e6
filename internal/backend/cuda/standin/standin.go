// Package standin has stand-ins for cuBLASLt and cuDNN, for tests on machines without
// them: libraries in C++ that a compiler makes when tests run. They compute on the CPU
// what descriptors say, so a test that compares results finds out whether these mean what
// they should; they refuse what the real ones document as wrong; and they write down
// every call, count what was created and not destroyed, and fail when they are told to.
package standin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/testenv"
)

//go:embed src
var sources embed.FS

// Library is a stand-in. It is a dl.Symbols.
type Library struct {
	*dl.Library
	live, record, clear, fail, driver, keepsNaN dl.Func
}

// Open compiles and opens a stand-in: "cublaslt" or "cudnn". The test is skipped where
// there is no compiler.
func Open(t testing.TB, name string) *Library {
	t.Helper()
	lib := compile(t, name, "cpp", "g++", "-std=c++17")
	l := &Library{Library: lib}
	for name, f := range map[string]*dl.Func{"standinLive": &l.live, "standinRecord": &l.record, "standinClear": &l.clear, "standinFail": &l.fail, "standinDriver": &l.driver} {
		var err error
		if *f, err = lib.Lookup(name); err != nil {
			t.Fatal(err)
		}
	}
	l.keepsNaN, _ = lib.Lookup("standinKeepsNaN")
	l.Clear()
	return l
}

// NoDriver makes up for a driver that is not there, as far as the real cuDNN looks for one
// when it makes plans for a card that is described to it.
func NoDriver(t testing.TB) {
	t.Helper()
	if _, err := dl.Open("libcuda.so.1"); err != nil {
		compile(t, "driver", "c", "g++", "-xc", "-Wl,-soname,libcuda.so.1")
	}
}

func compile(t testing.TB, name, suffix, compiler string, options ...string) *dl.Library {
	t.Helper()
	if err := dl.Supported(); err != nil {
		t.Skip(err)
	}
	gcc, err := exec.LookPath(compiler)
	testenv.Require(t, compiler, err == nil, "no "+compiler+" to compile a stand-in with")
	hash := sha256.New()
	dir := t.TempDir()
	for _, file := range []string{"common.h", name + "." + suffix} {
		text, err := sources.ReadFile("src/" + file)
		if err != nil {
			t.Fatal(err)
		}
		hash.Write(text)
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Equal sources are compiled once on a machine; a file appears whole or not at all.
	path := filepath.Join(os.TempDir(), "sinter-standin-"+name+"-"+hex.EncodeToString(hash.Sum(nil)[:12])+".so")
	if _, err := os.Stat(path); err != nil {
		made, err := os.CreateTemp(os.TempDir(), "sinter-standin-*.so")
		if err != nil {
			t.Fatal(err)
		}
		made.Close()
		args := append([]string{"-O2", "-Wall", "-fPIC", "-shared", "-fvisibility=hidden", "-o", made.Name()}, options...)
		out, err := exec.Command(gcc, append(args, filepath.Join(dir, name+"."+suffix))...).CombinedOutput()
		if err != nil {
			os.Remove(made.Name())
			t.Fatalf("g++: %v\n%s", err, out)
		}
		if err := os.Rename(made.Name(), path); err != nil {
			t.Fatal(err)
		}
	}
	lib, err := dl.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// Driver has a driver's cuLaunchHostFunc put into streams what the stand-in computes, where
// it does so at once otherwise. With 0, it does so again.
func (l *Library) Driver(launch dl.Func) { l.driver.Call(uintptr(launch)) }

// Live is the number of objects that were created and not destroyed.
func (l *Library) Live() int { return int(int32(l.live.Call())) }

// Record is the calls since the last Clear, one a line: the function's name, then what
// it was given.
func (l *Library) Record() []string {
	text := strings.TrimSuffix(dl.String(l.record.Call()), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// Calls counts the calls of a function in the record.
func (l *Library) Calls(name string) int {
	n := 0
	for _, line := range l.Record() {
		if f, _, _ := strings.Cut(line, " "); f == name {
			n++
		}
	}
	return n
}

// Clear forgets the record and faults.
func (l *Library) Clear() { l.clear.Call() }

// Fail has a function fail once with a status, after it was called some times.
func (l *Library) Fail(name string, status, after int) {
	l.fail.Call(uintptr(unsafe.Pointer(dl.CString(name))), dl.Int(status), dl.Int(after))
}

// KeepsNaN says whether the rectifier of cuBLASLt's stand-in keeps what is not a number.
func (l *Library) KeepsNaN(keeps bool) {
	n := 0
	if keeps {
		n = 1
	}
	l.keepsNaN.Call(dl.Int(n))
}
