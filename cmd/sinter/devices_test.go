package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// kinds is one device of every kind, with what can be wrong.
func kinds() *deviceList {
	free := func(n int64) *int64 { return &n }
	return &deviceList{
		Auto: "cuda:0", Why: "it computes more than cuda:1 (NVIDIA GeForce RTX 3080); cuda:2 (Tesla K80) cannot be used: its compute capability is 3.7",
		Devices: []deviceEntry{
			{Name: "cpu", Backend: "cpu", Model: "AMD EPYC 9B14", Kind: "cpu", Version: "avx512", Units: 1, MemoryTotal: 8 << 30, MemoryFree: free(3 << 30), DTypes: []string{"float32", "bfloat16"}, Usable: true},
			{Name: "cuda:0", Backend: "cuda", Model: "NVIDIA H100 80GB HBM3", Kind: "gpu", Version: "9.0", Driver: "580.65.06", Units: 132, MemoryTotal: 80 << 30, MemoryFree: free(79 << 30),
				Aliases: []string{"cuda:GPU-6a2f1f6e-9d5b-4b9e-8f0e-0123456789ab"}, DTypes: []string{"float32", "float16"}, Matrix: []string{"fp16", "bf16", "tf32", "fp8"}, MIG: "off", Usable: true, Catalogue: "h100-sxm"},
			{Name: "cuda:MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", Backend: "cuda", Model: "NVIDIA H100 80GB HBM3", Kind: "gpu", Version: "9.0", Units: 16, MemoryTotal: 10 << 30, MIG: "1g.10gb of cuda:3", DTypes: []string{"float32"}, Usable: true},
			{Name: "cuda:2", Backend: "cuda", Model: "Tesla K80", Kind: "gpu", Version: "3.7", MemoryTotal: 12 << 30,
				Problem: "its compute capability is 3.7, and kernels are made for 7.0 and later", Remedy: "use it by OpenCL, as opencl:1, if its driver is installed"},
			{Name: "opencl:0", Backend: "opencl", Model: "AMD Radeon RX 6800 XT", Kind: "gpu", Version: "OpenCL 2.0", Driver: "3590.0", Units: 36, MemoryTotal: 16 << 30, DTypes: []string{"float32", "float64"}, Usable: true},
		},
		Absent: map[string]string{"tpu": "there is no libtpu.so"},
		Libraries: map[string][]libraryEntry{"cuda": {
			{Name: "cuBLASLt", Path: "/usr/local/cuda-12.9/targets/x86_64-linux/lib/libcublasLt.so.12", Version: "12.9.1", Brings: "makes matrix products fast"},
			{Name: "cuDNN", Brings: "makes convolutions and attention fast", Remedy: "pip install nvidia-cudnn-cu12, in the environment in which sinter runs"},
			{Name: "NVML", Path: "/usr/lib/libnvidia-ml.so.1", Brings: "tells the state of MIG", Problem: "its version differs from the driver's", Remedy: "restart the machine"},
		}},
	}
}

// The list fits into 80 columns and leaves out nothing.
func TestDevicesPrint(t *testing.T) {
	var out bytes.Buffer
	kinds().print(&out)
	text := out.String()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > devicesWidth && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
		}
		if strings.HasSuffix(line, " ") {
			t.Errorf("spaces at the end of %q", line)
		}
	}
	flat := strings.Join(strings.Fields(text), " ")
	for _, want := range []string{
		"* cuda:0 NVIDIA H100 80GB HBM3, 132 multiprocessors compute capability 9.0, driver 580.65.06, MIG off 80.0 GiB of memory, 79.0 GiB free",
		"types float32 float16 fast products in fp16 bf16 tf32 fp8 in the catalogue as h100-sxm: at most 67.0 TFLOP/s in fp32, 989 TFLOP/s in fp16, 3.4 TB/s of memory, 700 W also called cuda:GPU-6a2f1f6e",
		"1 processor", "MIG 1g.10gb of cuda:3", "10.0 GiB of memory types", "36 compute units",
		"CANNOT BE USED: its compute capability is 3.7, and kernels are made for 7.0 and later remedy: use it by OpenCL",
		"* auto takes cuda:0: it computes more than cuda:1",
		"tpu no device: there is no libtpu.so",
		"Libraries for cuda cuBLASLt 12.9.1 /usr/local", "cuDNN missing; it makes convolutions and attention fast get it: pip install nvidia-cudnn-cu12",
		"NVML /usr/lib/libnvidia-ml.so.1 CANNOT BE USED: its version differs from the driver's remedy: restart the machine",
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if testing.Verbose() {
		t.Log("\n" + text)
	}
}

// The processor is always there, and JSON says the same as the list.
func TestDevicesCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if o := must(t, dir, "devices"); !strings.Contains(o.stdout, "cpu") || !strings.Contains(o.stdout, "float32") {
		t.Error(o.stdout)
	}
	o := must(t, dir, "devices", "--json")
	var l deviceList
	if err := json.Unmarshal([]byte(o.stdout), &l); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(l.Devices, func(d deviceEntry) bool { return d.Name == "cpu" })
	if i < 0 || !l.Devices[i].Usable || len(l.Devices[i].DTypes) == 0 || l.Auto == "" {
		t.Errorf("%+v", l)
	}
}

// The slices of a divided card that the process does not see are listed with what selects
// them, and found in the catalogue.
func TestDevicesSlices(t *testing.T) {
	t.Parallel()
	list := strings.Join([]string{nvmltest.Build(t, nvmltest.A100), simcuda.Require(t).Dir, "none"}, string(os.PathListSeparator))
	c := exec.Command(built, "devices", "--json")
	c.Env = append(os.Environ(), "SINTER_LIBRARY_PATH="+list, "SINTER_DEVICE=", "CUDA_VISIBLE_DEVICES=0")
	text, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var l deviceList
	if err := json.Unmarshal(text, &l); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]deviceEntry{
		"cuda:MIG-1": {Model: "NVIDIA A100-SXM4-80GB MIG 3g.40gb", Catalogue: "a100-80gb/3g.40gb", MemoryTotal: 42144366592},
		"cuda:MIG-3": {Model: "NVIDIA A100-SXM4-80GB MIG 1g.10gb", Catalogue: "a100-80gb/1g.10gb", MemoryTotal: 10200547328},
	} {
		i := slices.IndexFunc(l.Devices, func(d deviceEntry) bool { return d.Name == name })
		if i < 0 {
			t.Errorf("no %s in %s", name, text)
			continue
		}
		d := l.Devices[i]
		if d.Model != want.Model || d.Catalogue != want.Catalogue || d.MemoryTotal != want.MemoryTotal || d.MIG != "part of GPU-a100" || d.Usable || !strings.Contains(d.Remedy, "CUDA_VISIBLE_DEVICES="+strings.TrimPrefix(name, "cuda:")) {
			t.Errorf("%+v", d)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 10, ""}, {"one", 2, "one"}, {"one two three", 7, "one two|three"}, {"a  b", 10, "a b"}, {"averylongword b", 5, "averylongword|b"}, {"zwölf drei", 10, "zwölf drei"},
	} {
		if got := strings.Join(wrap(c.text, c.width), "|"); got != c.want {
			t.Errorf("%q in %d columns is %q, expected %q", c.text, c.width, got, c.want)
		}
	}
}

// onOpenCL is the name of a device of OpenCL, without which the test is skipped.
func onOpenCL(t *testing.T, dir string) string {
	t.Helper()
	var l deviceList
	if err := json.Unmarshal([]byte(must(t, dir, "devices", "--json").stdout), &l); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(l.Devices, func(d deviceEntry) bool { return d.Backend == "opencl" && d.Usable })
	testenv.Require(t, "opencl", i >= 0, "there is no device of OpenCL: "+l.Absent["opencl"])
	return l.Devices[i].Name
}

// A run on a device is that of the processor but for rounding; it says what it was on, what
// was uploaded, and goes on on the processor.
func TestTrainOnOpenCL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	device := onOpenCL(t, dir)
	train := "train mlp --data glyphs --set data.examples=512 --set model.hidden=[16] --steps 12 --json --set checkpoint.every_steps=6 --out "
	cpu := result(t, must(t, dir, strings.Fields(train+"cpu --device cpu")...))
	gpu := result(t, must(t, dir, strings.Fields(train+"gpu --device "+device)...))
	kept := result(t, must(t, dir, strings.Fields(train+"kept --set data.cache=device --device "+device)...))
	for _, key := range []string{"train_loss", "test_loss"} {
		a, b, c := cpu[key].(float64), gpu[key].(float64), kept[key].(float64)
		if math.Abs(a-b) > 1e-3*a || b != c {
			t.Errorf("%s is %g, on %s %g, and %g with the examples there", key, a, device, b, c)
		}
	}
	if gpu["device"] != device || cpu["device"] != "cpu" {
		t.Errorf("on %v and %v", gpu["device"], cpu["device"])
	}
	if a, b := gpu["uploaded_bytes_per_step"].(float64), kept["uploaded_bytes_per_step"].(float64); a < 64*28*28*4 || b > 4096 {
		t.Errorf("%g bytes uploaded a step, %g with the examples on the device", a, b)
	}
	o := must(t, dir, strings.Fields("train --resume gpu --steps 14 --device cpu")...)
	if want := fmt.Sprintf("was on %s and goes on on cpu", device); !strings.Contains(o.stderr, want) {
		t.Errorf("nothing says that the run %s:\n%s", want, o.stderr)
	}
}

// LeNet on MNIST comes to the same accuracy, within 0.3 points.
func TestMNISTOnOpenCL(t *testing.T) {
	if os.Getenv("SINTER_STRESS") == "" {
		t.Skip("takes minutes; SINTER_STRESS=1 runs it")
	}
	dir := t.TempDir()
	device := onOpenCL(t, dir)
	mnist, err := filepath.Abs(testenv.SharedData(t, "mnist"))
	if err != nil {
		t.Fatal(err)
	}
	accuracy := func(device string) float64 {
		r := result(t, must(t, dir, "train", "lenet", "--data", mnist, "--epochs", "1", "--json", "--device", device))
		return r["metrics"].(map[string]any)["accuracy"].(float64)
	}
	a, b := accuracy("cpu"), accuracy(device)
	t.Logf("accuracy %.4f on the processor, %.4f on %s", a, b, device)
	if math.Abs(a-b) > 0.003 || b < 0.97 {
		t.Errorf("accuracy %.4f on the processor, %.4f on %s", a, b, device)
	}
}
