package dl

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/testenv"
)

const source = `
#include <stdint.h>
#include <string.h>
static int count;
extern "C" {
int negative(int x) { return -x; }
uint64_t sum32(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h,
	uint64_t i, uint64_t j, uint64_t k, uint64_t l, uint64_t m, uint64_t n, uint64_t o, uint64_t p,
	uint64_t q, uint64_t r, uint64_t s, uint64_t t, uint64_t u, uint64_t v, uint64_t w, uint64_t x,
	uint64_t y, uint64_t z, uint64_t A, uint64_t B, uint64_t C, uint64_t D, uint64_t E, uint64_t F) {
	uint64_t all[] = {a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D,E,F}, sum = 0;
	for (int i = 0; i < 32; i++) sum = 3 * sum + all[i];
	return sum;
}
int out(int64_t *p, int64_t v) { *p = v; return 0; }
const char *hello() { return "hello"; }
long lengths(const char **list, int n) { long r = 0; for (int i = 0; i < n; i++) r = 100 * r + (long)strlen(list[i]); return r; }
double scale(int n, double x, int m, float y) { return n * x + m * y; }
typedef uintptr_t (*callback)(uintptr_t, uintptr_t);
uintptr_t twice(callback f, uintptr_t x) { return f(f(x, 1), 2); }
int next() { return ++count; }
}`

// library compiles a library for a test.
func library(t testing.TB, name, text string) string {
	t.Helper()
	cxx, err := exec.LookPath("g++")
	testenv.Require(t, "g++", err == nil, "no g++")
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "source.cc"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name)
	if out, err := exec.Command(cxx, "-shared", "-fPIC", "-O1", "-o", file, filepath.Join(dir, "source.cc")).CombinedOutput(); err != nil {
		t.Fatalf("g++: %v\n%s", err, out)
	}
	return file
}

type table struct {
	Negative Func `c:"negative"`
	Sum      Func `c:"sum32"`
	Out      Func `c:"out"`
	Hello    Func `c:"hola hello"`
	Lengths  Func `c:"lengths"`
	Scale    Func `c:"scale"`
	Twice    Func `c:"twice"`
	Next     Func `c:"next"`
	Not      Func `c:"not_there,optional"`
}

func TestCalls(t *testing.T) {
	file := library(t, "libtest.so", source)
	lib, err := Open("libnothing-of-this-name.so", file)
	if err != nil {
		t.Fatal(err)
	}
	if lib.Path() != file {
		t.Errorf("path %q, want %q", lib.Path(), file)
	}
	var f table
	if err := Bind(lib, &f); err != nil {
		t.Fatal(err)
	}
	if got := int32(f.Negative.Call(Int(-7))); got != 7 {
		t.Errorf("-(-7) = %d", got)
	}
	if got := int32(f.Negative.Fast(Int(7))); got != -7 {
		t.Errorf("-7 = %d", got)
	}
	args, want := make([]uintptr, 32), uint64(0)
	for i := range args {
		args[i] = uintptr(i*i + 1)
		want = 3*want + uint64(args[i])
	}
	for name, got := range map[string]uintptr{"Call": f.Sum.Call(args...), "Fast": f.Sum.Fast(args...)} {
		if uint64(got) != want {
			t.Errorf("%s of 32 arguments: %d, want %d", name, got, want)
		}
	}
	var x int64
	f.Out.Call(uintptr(unsafe.Pointer(&x)), 1<<40)
	if x != 1<<40 {
		t.Errorf("out has written %d", x)
	}
	if got := String(f.Hello.Call()); got != "hello" {
		t.Errorf("hello says %q", got)
	}
	list := CStrings([]string{"a", "", "ccc", strings.Repeat("d", 40)})
	if got := f.Lengths.Call(list.Addr(), 4); got != 1_00_03_40 {
		t.Errorf("lengths %d", got)
	}
	runtime.KeepAlive(list)
	var scale func(n int32, x float64, m int32, y float32) float64
	Register(&scale, f.Scale)
	if got := scale(3, 1.5, 4, 0.25); got != 5.5 {
		t.Errorf("scale = %v", got)
	}
	call := Callback(func(a, b uintptr) uintptr { return 10*a + b })
	if got := f.Twice.Call(uintptr(call), 7); got != 712 {
		t.Errorf("a callback was called with %d", got)
	}
	if got := int32(f.Not.Call(1)); got != Missing {
		t.Errorf("a missing function returns %d", got)
	}
	if got := int32(f.Not.Fast(1)); got != Missing {
		t.Errorf("a missing function returns %d", got)
	}
	if _, err := lib.Lookup("not_there"); err == nil || !strings.Contains(err.Error(), "libtest.so has no function not_there") {
		t.Errorf("a function that is not there: %v", err)
	}
	if got := Absent(lib, &f); !slices.Equal(got, []string{"not_there"}) {
		t.Errorf("absent: %q", got)
	}
}

func TestBindNamesWhatIsMissing(t *testing.T) {
	lib, err := Open(library(t, "libempty.so", `extern "C" int one() { return 1; }`))
	if err != nil {
		t.Fatal(err)
	}
	err = Bind(lib, &table{})
	if err == nil || !strings.Contains(err.Error(), "it lacks negative, sum32, out, hola, lengths, scale, twice, next") {
		t.Errorf("%v", err)
	}
}

// Two libraries that export the same names are two libraries.
func TestSymbolsAreLocal(t *testing.T) {
	text := `extern "C" { int which() { return N; } int ask() { return which(); } }`
	for n := range 2 {
		lib, err := Open(library(t, "libtwin.so", strings.Replace(text, "N", string(rune('1'+n)), 1)))
		if err != nil {
			t.Fatal(err)
		}
		f, err := lib.Lookup("ask")
		if err != nil {
			t.Fatal(err)
		}
		if got := int(int32(f.Call())); got != n+1 {
			t.Errorf("library %d asks library %d", n+1, got)
		}
	}
}

func TestFastAllocatesNothing(t *testing.T) {
	lib, err := Open(library(t, "libfast.so", source))
	if err != nil {
		t.Fatal(err)
	}
	var f table
	if err := Bind(lib, &f); err != nil {
		t.Fatal(err)
	}
	block := NewBlock(64)
	variable := new(int64)
	if n := testing.AllocsPerRun(200, func() {
		cell := GetCell()
		f.Out.Fast(cell.Addr(1), 5)
		if cell[0] != 0 || cell[1] != 5 {
			t.Errorf("a cell holds %d", *cell)
		}
		cell.Put()
		f.Out.Fast(block.Addr()+8, 6)
		f.Out.Fast(Addr(variable), 7)
		f.Sum.Fast(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if block.Words()[1] != 6 || *variable != 7 {
		t.Errorf("written %d and %d, want 6 and 7", block.Words()[1], *variable)
	}
}

// Memory of a block stays where it is for as long as the block is reachable, and no longer.
func TestBlock(t *testing.T) {
	b := NewBlock(100)
	if len(b.Bytes()) != 104 || b.Addr()%8 != 0 {
		t.Errorf("%d bytes at %#x", len(b.Bytes()), b.Addr())
	}
	at := b.Addr()
	for range 3 {
		runtime.GC()
	}
	if b.Addr() != at {
		t.Error("a block has moved")
	}
	b.Words()[12] = 5
	for range 1000 { // unreachable at once, and collected without complaint
		NewBlock(1 << 10)
	}
	runtime.GC()
	runtime.GC()
	if b.Words()[12] != 5 {
		t.Error("a block has lost what was in it")
	}
}

func TestOpenError(t *testing.T) {
	var unsupported *UnsupportedError
	if err := Supported(); err != nil {
		_, opened := Open("libc.so.6")
		if !errors.As(opened, &unsupported) || opened.Error() != err.Error() {
			t.Errorf("Open says %v, Supported %v", opened, err)
		}
		return
	}
	_, err := Open("libnothing-of-this-name.so", filepath.Join(t.TempDir(), "libneither.so"))
	if err == nil || !strings.Contains(err.Error(), "libnothing-of-this-name.so") || !strings.Contains(err.Error(), "libneither.so") || errors.As(err, &unsupported) {
		t.Errorf("%v", err)
	}
}

func BenchmarkCall(b *testing.B) {
	lib, err := Open(library(b, "libbench.so", source))
	if err != nil {
		b.Fatal(err)
	}
	var f table
	if err := Bind(lib, &f); err != nil {
		b.Fatal(err)
	}
	b.Run("Call", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Next.Call(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
		}
	})
	b.Run("Fast", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Next.Fast(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
		}
	})
}
