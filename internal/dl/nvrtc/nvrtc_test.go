package nvrtc

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/dltest"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// load opens the NVRTC that is found, which compiles without any device.
func load(t *testing.T) (*API, *dl.Library) {
	t.Helper()
	lib, err := find.Search(find.Want{}).Open(find.NVRTC)
	testenv.Require(t, "nvrtc", err == nil, fmt.Sprint(err))
	rtc, err := New(lib)
	if err != nil {
		t.Fatal(err)
	}
	return rtc, lib
}

const source = `extern "C" __global__ void add(const float *a, const float *b, float *c, int n) {
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) c[i] = a[i] + b[i];
}`

func TestCompile(t *testing.T) {
	rtc, lib := load(t)
	if absent := dl.Absent(lib, &functions{}); len(absent) > 0 {
		t.Errorf("%s lacks %q", lib.Path(), absent)
	}
	major, minor, err := rtc.Version()
	if err != nil || major < 11 {
		t.Errorf("version %d.%d (%v)", major, minor, err)
	}
	archs, err := rtc.SupportedArchs()
	if err != nil || !slices.Contains(archs, 80) || !slices.Contains(archs, 90) || !slices.IsSorted(archs) {
		t.Errorf("architectures %d (%v)", archs, err)
	}
	for _, arch := range archs {
		image, log, err := rtc.Compile(source, "add.cu", []string{fmt.Sprintf("--gpu-architecture=sm_%d", arch), "--std=c++17", "--fmad=false"})
		if err != nil || !bytes.HasPrefix(image, []byte("\x7fELF")) || !bytes.Contains(image, []byte("add")) || log != "" && !strings.Contains(log, "deprecated") {
			t.Errorf("sm_%d: %d bytes, %q (%v)", arch, len(image), log, err)
		}
	}
	image, _, err := rtc.Compile(source, "add.cu", []string{"--gpu-architecture=compute_80"})
	if err != nil || !bytes.Contains(image, []byte(".entry add")) {
		t.Errorf("no PTX: %q (%v)", image[:min(len(image), 80)], err)
	}
}

func TestErrors(t *testing.T) {
	rtc, _ := load(t)
	_, log, err := rtc.Compile("__global__ void f(int *x) { *x = nowhere; }", "bad.cu", []string{"--gpu-architecture=sm_80"})
	var compile *CompileError
	if !errors.As(err, &compile) || !strings.Contains(err.Error(), "bad.cu(1)") || !strings.Contains(log, "nowhere") {
		t.Errorf("a program that is wrong: %v", err)
	}
	_, _, err = rtc.Compile(source, "add.cu", []string{"--no-such-option"})
	if err == nil || !strings.Contains(err.Error(), "nvrtcCompileProgram with --no-such-option: NVRTC_ERROR_INVALID_OPTION (5)") {
		t.Errorf("an option that there is not: %v", err)
	}
	_, log, err = rtc.Compile("#warning careful\n"+source, "warn.cu", []string{"--gpu-architecture=sm_80"})
	if err != nil || !strings.Contains(log, "careful") {
		t.Errorf("a warning: %q (%v)", log, err)
	}
}

func TestHeader(t *testing.T) {
	var facts []dltest.Fact
	for i, name := range resultNames {
		if name != "NVRTC_ERROR_TIME_FILE_WRITE_FAILED" { // 12.1
			facts = append(facts, dltest.Fact{C: name, Go: int64(i)})
		}
	}
	dltest.Facts(t, "nvrtc.h", facts)
}
