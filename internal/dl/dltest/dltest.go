// Package dltest helps the tests of bindings: libraries that are compiled when the test
// runs, and the vendors' headers, where they are, as the judge of constants and layouts.
package dltest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// Library compiles a shared library of C++ with g++, and gives its file. The test is
// skipped where there is no g++, or where the build cannot open libraries.
func Library(t testing.TB, name, source string) string {
	t.Helper()
	if err := dl.Supported(); err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if out, err := compile(t, source, "-shared", "-fPIC", "-O1", "-o", file); err != nil {
		t.Fatalf("g++: %v\n%s", err, out)
	}
	return file
}

// Open compiles a library and opens it.
func Open(t testing.TB, name, source string) *dl.Library {
	t.Helper()
	lib, err := dl.Open(Library(t, name, source))
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// Symbols is the names of all functions that a table of dl.Bind wants, each by the first of
// its names.
func Symbols(table any) []string {
	return dl.Absent(nobody{}, table)
}

type nobody struct{}

func (nobody) Lookup(name string) (dl.Func, error) { return 0, fmt.Errorf("no %s", name) }
func (nobody) Path() string                        { return "nobody" }

// Fake compiles a library that has every function of a table. The text has those that do
// something; the others return 0. A function of the text begins a line with
// "int NAME(", whatever its result is.
func Fake(t testing.TB, table any, text string) *dl.Library {
	t.Helper()
	var b strings.Builder
	b.WriteString("#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n#include <stdlib.h>\nextern \"C\" {\n")
	b.WriteString(text)
	for _, name := range Symbols(table) {
		if !strings.Contains(text, " "+name+"(") && !strings.Contains(text, "*"+name+"(") {
			fmt.Fprintf(&b, "int %s() { return 0; }\n", name)
		}
	}
	b.WriteString("}\n")
	return Open(t, "libfake.so", b.String())
}

// Fact is something that a header decides, and what a binding takes it for.
type Fact struct {
	C  string // a constant expression
	Go int64
}

// Facts compiles the facts with a vendor's header, before which macros are defined. The test
// is skipped where the header, or g++, is not there.
func Facts(t testing.TB, header string, facts []Fact, macros ...string) {
	t.Helper()
	dirs := includes()
	found := slices.ContainsFunc(dirs, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, header))
		return err == nil
	})
	testenv.Require(t, header, found, "no header "+header+" where vendors' libraries are")
	var b strings.Builder
	fmt.Fprintf(&b, "#include <stddef.h>\n#include <%s>\n", header)
	for i, f := range facts {
		fmt.Fprintf(&b, "#line %d \"facts\"\nstatic_assert((long long)(%s) == %dLL, \"\");\n", i+1, f.C, f.Go)
	}
	args := []string{"-fsyntax-only", "-w", "-std=c++17"}
	for _, dir := range dirs {
		args = append(args, "-isystem", dir)
	}
	for _, m := range macros {
		args = append(args, "-D"+m)
	}
	// Headers of CUDA's runtime want some of the compiler's, which pip has in packages of their
	// own; for a host's compiler there is next to nothing in them.
	stubs := t.TempDir()
	for name, text := range map[string]string{
		"crt/host_config.h": "", "crt/host_defines.h": hostDefines,
		"nv/target": "#define NV_IF_TARGET(...)\n#define NV_IF_ELSE_TARGET(condition, then, otherwise) otherwise\n",
	} {
		file := filepath.Join(stubs, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	args = append(args, "-idirafter", stubs)
	out, err := compile(t, b.String(), args...)
	if err == nil {
		return
	}
	told := false
	for i, f := range facts {
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, fmt.Sprintf("facts:%d:", i+1)) && strings.Contains(line, "error") {
				t.Errorf("%s is not %d in %s: %s", f.C, f.Go, header, strings.TrimSpace(line))
				told = true
			}
		}
	}
	if !told {
		t.Fatalf("g++ with %s: %v\n%s", header, err, out)
	}
}

const hostDefines = `
#define __host__
#define __device__
#define __global__
#define __shared__
#define __constant__
#define __managed__
#define __location__(a)
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)
#define __device_builtin__
#define __cudart_builtin__
#define __device_builtin_surface_type__
#define __device_builtin_texture_type__
#define CUDARTAPI
#define CUDARTAPI_CDECL
`

// Offsets is the facts that the fields of a Go struct lie where those of a C type do. Names
// are pairs of a Go field and a C field.
func Offsets(v any, c string, names ...string) []Fact {
	typ := reflect.TypeOf(v)
	facts := []Fact{{"sizeof(" + c + ")", int64(typ.Size())}}
	for i := 0; i < len(names); i += 2 {
		f, ok := typ.FieldByName(names[i])
		if !ok {
			panic("dltest: no field " + names[i])
		}
		facts = append(facts, Fact{"offsetof(" + c + ", " + names[i+1] + ")", int64(f.Offset)})
	}
	return facts
}

// includes is the folders with headers: those that find.Variable lists, and those beside the
// vendors' libraries.
func includes() []string {
	dirs := filepath.SplitList(os.Getenv(find.Variable))
	for _, l := range find.Search(find.Want{}).All() {
		if l.Path == "" {
			continue
		}
		lib := filepath.Dir(l.Path)
		dirs = append(dirs, filepath.Join(filepath.Dir(lib), "include"))
		if site := filepath.Dir(filepath.Dir(lib)); filepath.Base(site) == "nvidia" {
			list, _ := filepath.Glob(filepath.Join(site, "*", "include"))
			dirs = append(dirs, list...)
		}
	}
	dirs = append(dirs, "/usr/include")
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Compact(dirs), func(dir string) bool {
		st, err := os.Stat(dir)
		return err != nil || !st.IsDir()
	})
}

func compile(t testing.TB, source string, args ...string) ([]byte, error) {
	t.Helper()
	cxx, err := exec.LookPath("g++")
	testenv.Require(t, "g++", err == nil, "no g++")
	file := filepath.Join(t.TempDir(), "source.cc")
	if err := os.WriteFile(file, []byte(source), 0o666); err != nil {
		t.Fatal(err)
	}
	return exec.Command(cxx, append(args, file)...).CombinedOutput()
}
