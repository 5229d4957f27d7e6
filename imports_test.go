package sinter_test

import (
	"cmp"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// house is the packages from the top to the bottom, as docs/architecture.md lists
// them; the root is ".". A package may import what stands in a lower row, and of
// what is under internal only what its row names. Names may be patterns as of
// path.Match; "all" is everything.
//
// What a row names besides is for modules of others. A training program is to pull
// in as little as possible, so there are few.
var house = []struct{ packages, internal, others string }{
	{packages: "cmd/sinter", internal: "all", others: "all"},
	{packages: "cmd/sinter/internal/watch"},
	{packages: "cmd/sinter/internal/top cmd/sinter/internal/export", others: "charm.land/bubbletea/v2 github.com/charmbracelet/x/ansi github.com/prometheus/client_golang github.com/prometheus/common/expfmt"},
	{packages: "cmd/sinter/internal/*", others: "all"},
	{packages: "examples/* bench/bits bench/compare bench/first bench/images bench/kernels bench/loop bench/memory bench/plan bench/steps"},
	{packages: "bench/internal/workload"},
	{packages: "bench/internal/peer bench/internal/rig"},
	{packages: "internal/streamtest"},
	{packages: "queue/cluster", others: "go.yaml.in/yaml/v4"},
	{packages: "queue", internal: "internal/nearest internal/process", others: "go.etcd.io/bbolt"},
	{packages: "train/sweep", internal: "internal/process"},
	{packages: "train/recipe", internal: "internal/ir internal/nearest", others: "go.yaml.in/yaml/v4"},
	{packages: "train/tune train/plan"},
	{packages: "train/live", internal: "internal/process"},
	{packages: "train/tensorboard"},
	{packages: "train/profile", internal: "internal/ir"},
	{packages: "train", internal: "internal/ir internal/nvtx"},
	{packages: "train/checkpoint"},
	{packages: "train/rundir"},
	{packages: "power/powerfile", others: "go.yaml.in/yaml/v4"},
	{packages: "schedule", internal: "internal/nearest"},
	{packages: "hardware/doctor", internal: "internal/dl/find internal/device internal/codegen/cache internal/backend/cpu/native"},
	{packages: "power", internal: "internal/nearest"},
	{packages: "hardware/telemetry/telemetrytest"},
	{packages: "hardware/telemetry", internal: "internal/dl internal/dl/find internal/dl/nvml"},
	{packages: "hardware", internal: "internal/nearest", others: "golang.org/x/sys"},
	{packages: "models", internal: "internal/ir"},
	{packages: "optim", internal: "internal/ir internal/nvtx"},
	{packages: "nn metric", internal: "internal/ir"},
	{packages: "data/transforms", internal: "internal/resample"},
	{packages: "data/glyphs", others: "golang.org/x/image"},
	{packages: "data/parquet", others: "github.com/parquet-go/parquet-go github.com/klauspost/compress github.com/andybalholm/brotli github.com/pierrec/lz4/v4"},
	{packages: "data", internal: "internal/backend/cpu/vec internal/jpeg internal/resample", others: "golang.org/x/image"},
	{packages: "data/preprocess"},
	{packages: "data/tokenizer", others: "golang.org/x/text/unicode/norm"},
	{packages: "format/tfevent", others: "google.golang.org/protobuf/encoding/protowire"},
	{packages: "format/*", internal: "internal/dtype"},
	{packages: ".", internal: "internal/backend/cpu internal/backend/cuda internal/backend/opencl internal/backend/null internal/kernel internal/plan internal/grad internal/device internal/ir internal/shape internal/dtype internal/philox internal/debug internal/nvtx"},
	{packages: "devicetest", internal: "all"},
	{packages: "internal/plan", internal: "all"},
	{packages: "internal/fuse", internal: "internal/kernel internal/ir internal/shape internal/dtype internal/debug"},
	{packages: "internal/rewrite internal/grad", internal: "internal/ir internal/shape internal/dtype internal/debug"},
	{packages: "internal/backend/cuda/standin", internal: backend + " internal/dl internal/testenv internal/backend/cpu internal/codegen"},
	{packages: "internal/backend/apart", internal: backend + " internal/backend/cpu"},
	{packages: "internal/backend/cpu", internal: backend + " internal/nvtx internal/backend/cpu/*", others: "golang.org/x/sys"},
	{packages: "internal/backend/cpu/conv internal/backend/cpu/gemm internal/backend/cpu/vec", internal: backend + " internal/backend/cpu/pool", others: "golang.org/x/sys"},
	{packages: "internal/backend/cpu/*/gen", internal: "internal/backend/cpu/simd internal/backend/cpu/emit internal/backend/cpu/neon internal/ir"},
	{packages: "internal/backend/cpu/simd", internal: "internal/backend/cpu/emit internal/backend/cpu/neon internal/ir"},
	{packages: "internal/backend/cpu/emit internal/backend/cpu/neon"},
	{packages: "internal/backend/cpu/native", internal: "internal/debug", others: "golang.org/x/sys"},
	{packages: "internal/backend/cpu/pool", others: "golang.org/x/sys"},
	{packages: "internal/backend/null", internal: backend},
	{packages: "internal/backend/cuda", internal: backend + " internal/nvtx internal/backend/gpu internal/backend/cuda/* internal/codegen internal/codegen/* internal/dl internal/dl/* internal/debug"},
	{packages: "internal/backend/cuda/simcuda", internal: "internal/dl internal/testenv"},
	{packages: "internal/backend/cuda/lt internal/backend/cuda/dnn", internal: backend + " internal/backend/cuda/card internal/codegen internal/dl internal/dl/*"},
	{packages: "internal/backend/cuda/card", internal: backend},
	{packages: "internal/backend/opencl", internal: backend + " internal/nvtx internal/backend/gpu internal/codegen internal/codegen/* internal/dl/*"},
	{packages: "internal/backend/gpu", internal: backend + " internal/codegen internal/codegen/*"},
	{packages: "internal/codegen/cudatest", internal: "internal/codegen internal/dl/* internal/testenv"},
	{packages: "internal/codegen/cache"},
	{packages: "internal/codegen/dense internal/codegen/indexing", internal: "internal/codegen internal/kernel internal/ir internal/shape internal/dtype"},
	{packages: "internal/codegen", internal: "internal/kernel internal/ir internal/shape internal/dtype internal/philox"},
	{packages: "internal/nvtx", internal: "internal/dl"},
	{packages: "internal/dl/nvml/nvmltest", internal: "internal/dl/dltest internal/dl/find"},
	{packages: "internal/dl/dltest", internal: "internal/dl internal/dl/find internal/testenv"},
	{packages: "internal/dl/clblast", internal: "internal/dl internal/dl/opencl"},
	{packages: "internal/dl/*", internal: "internal/dl"},
	{packages: "internal/dl", others: "github.com/ebitengine/purego golang.org/x/sys"},
	{packages: "internal/graphtest", internal: "internal/kernel internal/scalar internal/ir internal/dtype"},
	{packages: "internal/device", internal: "internal/kernel internal/dtype"},
	{packages: "internal/kernel", internal: "internal/ir internal/dtype"},
	{packages: "internal/scalar", internal: "internal/ir internal/dtype internal/philox"},
	{packages: "internal/ir", internal: "internal/shape internal/dtype"},
	{packages: "internal/reftest", internal: "internal/dtype internal/testenv"},
	{packages: "internal/shape internal/dtype internal/philox internal/debug internal/testenv internal/jpeg internal/resample internal/nearest"},
	{packages: "internal/process", others: "golang.org/x/sys/unix"},
}

// backend is what a backend works with.
const backend = "internal/device internal/kernel internal/ir internal/shape internal/dtype internal/philox"

// Imports go strictly downward. Tests are not bound by that: theirs may come from
// above. Nothing uses cgo.
func TestImports(t *testing.T) {
	module, imports := readImports(t)
	names := func(list, name string) bool {
		return slices.ContainsFunc(strings.Fields(list), func(pattern string) bool {
			ok, err := path.Match(pattern, name)
			if err != nil {
				t.Fatal(err)
			}
			return ok || pattern == "all"
		})
	}
	// row is where a package stands, -1 if nowhere.
	row := func(pkg string) int {
		for i := range house {
			if names(house[i].packages, pkg) {
				return i
			}
		}
		return -1
	}
	stands := make([]bool, len(house))
	for pkg, list := range imports {
		at := row(pkg)
		if at < 0 {
			t.Errorf("package %s stands nowhere in the house: put it into the table in imports_test.go, below everything that is to import it and above everything that it imports, and into the list in docs/architecture.md", pkg)
			continue
		}
		stands[at] = true
		for imp, file := range list {
			if imp == "C" {
				t.Errorf("%s uses cgo; a build has to work without a C compiler", file)
				continue
			}
			if imp == module {
				imp = module + "/."
			}
			name, ours := strings.CutPrefix(imp, module+"/")
			switch {
			case !ours && !strings.Contains(strings.Split(imp, "/")[0], "."): // the standard library
			case !ours:
				if !slices.ContainsFunc(strings.Fields(house[at].others), func(m string) bool {
					return m == "all" || imp == m || strings.HasPrefix(imp, m+"/")
				}) {
					t.Errorf("%s imports %s: the modules of others that package %s may use are %s", file, imp, pkg, cmp.Or(house[at].others, "none"))
				}
			case row(name) < 0: // reported at that package
			case row(name) <= at:
				t.Errorf("%s imports %s, which does not stand below package %s: it wants an interface there, or is in the wrong place", file, name, pkg)
			case strings.HasPrefix(name, "internal/") && !names(house[at].internal, name):
				t.Errorf("%s imports %s: what package %s may use of internal is %s", file, name, pkg, cmp.Or(house[at].internal, "nothing"))
			}
		}
	}
	for i, ok := range stands {
		if !ok {
			t.Errorf("there is no package %s any more: take it out of the table in imports_test.go", house[i].packages)
		}
	}
}

// readImports gives the module's path and for every package, by its folder, what
// its files import, with one file that does.
func readImports(t *testing.T) (module string, imports map[string]map[string]string) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(mod), "\n")
	module = strings.TrimSpace(strings.TrimPrefix(first, "module "))
	imports = make(map[string]map[string]string)
	err = filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if file != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir // a module of its own, or no Go at all
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(file))
		if imports[pkg] == nil {
			imports[pkg] = make(map[string]string)
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[pkg][imp] = filepath.ToSlash(file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return module, imports
}
