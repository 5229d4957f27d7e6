// Package cudatest compiles kernels for NVIDIA's GPUs where there is none, for tests. Each
// compiler that is at hand is asked:
//
//	clang    to PTX; Debian's clang-16 as far as compute capability 9.0, clang-22 beyond
//	ptxas    what clang has made, to machine code that functions of CUDA are yet to be linked to; of NVIDIA's package nvidia-cuda-nvcc-cu12
//	nvrtc    to machine code, as the backend does; of nvidia-cuda-nvrtc-cu12
//
// They see what no execution of the kernels on a CPU shows: inline PTX, what an
// architecture does not have, registers and memory of groups that there are not.
package cudatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dl/nvrtc"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// Archs are the architectures that kernels have to compile for: those of V100, T4, A100,
// RTX 3080, H100 and H200, B200.
var Archs = []int{70, 75, 80, 86, 90, 100}

// Target is a GPU of an architecture.
func Target(arch int) codegen.Target {
	return codegen.Target{Dialect: codegen.CUDA, Arch: arch, Units: 80, GroupSize: 1024, Warp: 32, Local: 48 << 10, ParamBytes: 4096, Float64: true}
}

// All tells whether SINTER_STRESS asks for all that there is to compile.
func All() bool { return os.Getenv("SINTER_STRESS") != "" }

// Check compiles the kernels that kernels makes for a target: for one architecture by clang
// alone, or, if it is to be All, for every one by every compiler. A compiler that is not there
// is a test that is skipped, or fails where SINTER_REQUIRE names it: clang, clang-22, ptxas,
// nvrtc.
func Check(t *testing.T, kernels func(t *testing.T, target *codegen.Target) []*codegen.Kernel) {
	archs := Archs
	if !All() {
		archs = []int{70}
	}
	for _, arch := range archs {
		t.Run(fmt.Sprintf("sm_%d", arch), func(t *testing.T) {
			target := Target(arch)
			list := kernels(t, &target)
			if len(list) == 0 {
				t.Fatal("there are no kernels")
			}
			text := codegen.Module(list, &target)
			t.Run("clang", func(t *testing.T) { clang(t, text, arch) })
			if All() {
				t.Run("nvrtc", func(t *testing.T) { runtimeCompiler(t, text, &target) })
			}
		})
	}
}

// clang compiles a module to PTX, and that to machine code if ptxas is there.
func clang(t *testing.T, text string, arch int) {
	t.Helper()
	name, tool := "clang", "clang-16"
	if arch > 90 {
		name, tool = "clang-22", "clang-22"
	}
	path, err := exec.LookPath(tool)
	testenv.Require(t, name, err == nil, "there is no "+tool)
	dir := t.TempDir()
	source, ptx := filepath.Join(dir, "kernels.cu"), filepath.Join(dir, "kernels.ptx")
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	optimise := "-O1"
	if All() {
		optimise = "-O2"
	}
	args := []string{"-x", "cuda", "--cuda-device-only", fmt.Sprintf("--cuda-gpu-arch=sm_%d", arch), "-nocudainc", "-nocudalib",
		optimise, "-ffp-contract=off", "-Wall", "-Wno-unused-function", "-Wno-unknown-cuda-version", "-S", "-o", ptx, source}
	if arch > 90 {
		args = append([]string{"-Xclang", "-target-feature", "-Xclang", "+ptx86"}, args...)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		keep(t, text)
		t.Fatalf("%s for sm_%d: %v\n%s", tool, arch, err, head(out))
	}
	if !All() {
		return
	}
	t.Run("ptxas", func(t *testing.T) {
		path, err := ptxas()
		testenv.Require(t, "ptxas", err == nil, "there is no ptxas")
		out, err := exec.Command(path, fmt.Sprintf("-arch=sm_%d", arch), "-c", "-v", "-o", filepath.Join(dir, "kernels.cubin"), ptx).CombinedOutput()
		if err != nil {
			t.Fatalf("ptxas for sm_%d: %v\n%s", arch, err, head(out))
		}
		spills(t, string(out))
	})
}

// ptxas is looked for in PATH, and where the Python package has it: beside the libraries of
// the package with NVRTC.
func ptxas() (string, error) {
	path, err := exec.LookPath("ptxas")
	if err == nil {
		return path, nil
	}
	if l := find.Search(find.Want{}).Library(find.NVRTC); l.Usable() {
		path := filepath.Join(filepath.Dir(l.Path), "..", "..", "cuda_nvcc", "bin", "ptxas")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", err
}

var (
	compiling = regexp.MustCompile(`Compiling entry function '(\w+)'`)
	spilled   = regexp.MustCompile(`(\d+) bytes spill stores`)
)

// spills tells of kernels whose variables do not fit into the registers.
func spills(t *testing.T, log string) {
	entry := ""
	for line := range strings.Lines(log) {
		if m := compiling.FindStringSubmatch(line); m != nil {
			entry = m[1]
		}
		if m := spilled.FindStringSubmatch(line); m != nil {
			if n, _ := strconv.Atoi(m[1]); n > 0 {
				t.Logf("%s keeps %d bytes of variables in memory, for there are too few registers", entry, n)
			}
		}
	}
}

// runtimeCompiler compiles a module as the backend does.
func runtimeCompiler(t *testing.T, text string, target *codegen.Target) {
	t.Helper()
	libraries := find.Search(find.Want{})
	lib, err := libraries.Open(find.NVRTC)
	testenv.Require(t, "nvrtc", err == nil, fmt.Sprint(err))
	rtc, err := nvrtc.New(lib)
	if err != nil {
		t.Fatal(err)
	}
	if image, log, err := rtc.Compile(text, "kernels.cu", codegen.Options(target)); err != nil {
		keep(t, text)
		t.Fatalf("%v\n%s", err, head([]byte(log)))
	} else if len(image) == 0 {
		t.Error("NVRTC gives nothing")
	}
}

// keep leaves the text where it can be looked at, if SINTER_KEEP names a folder.
func keep(t *testing.T, text string) {
	if dir := os.Getenv("SINTER_KEEP"); dir != "" {
		name := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "_")+".cu")
		if err := os.WriteFile(name, []byte(text), 0o644); err == nil {
			t.Log("the text is in " + name)
		}
	}
}

func head(out []byte) string {
	const most = 4000
	if len(out) > most {
		return string(out[:most]) + "…"
	}
	return string(out)
}
