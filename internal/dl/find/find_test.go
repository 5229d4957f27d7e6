package find

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// tree makes empty files, and symbolic links where a line is "link -> target", and gives
// the search on a machine that has nothing else.
func tree(t *testing.T, env map[string]string, files ...string) *search {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		f, target, link := strings.Cut(f, " -> ")
		f = filepath.Join(root, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(f), 0o777); err != nil {
			t.Fatal(err)
		}
		var err error
		if link {
			err = os.Symlink(target, f)
		} else {
			err = os.WriteFile(f, nil, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &search{root: root, goos: "linux", goarch: "amd64", getenv: func(name string) string {
		return strings.ReplaceAll(env[name], "ROOT", root)
	}}
}

const (
	site  = "home/u/env/lib/python3.12/site-packages/"
	twin  = "usr/local/lib/python3.10/dist-packages/"
	tools = "usr/local/cuda-12.4/"
)

// wheels12 and wheels13 are what pip installs for CUDA 12 and 13.
func wheels12(site string) []string {
	return []string{
		site + "nvidia/cuda_nvrtc/lib/libnvrtc.so.12", site + "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.8",
		site + "nvidia/cublas/lib/libcublasLt.so.12", site + "nvidia/cudnn/lib/libcudnn.so.9",
		site + "nvidia_cuda_nvrtc_cu12-12.8.93.dist-info/RECORD", site + "nvidia_cublas_cu12-12.8.4.1.dist-info/RECORD",
		site + "nvidia_cudnn_cu12-9.10.2.21.dist-info/RECORD",
	}
}

func wheels13(site string) []string {
	return []string{
		site + "nvidia/cu13/lib/libnvrtc.so.13", site + "nvidia/cu13/lib/libnvrtc-builtins.so.13.2",
		site + "nvidia/cu13/lib/libcublasLt.so.13", site + "nvidia/cudnn/lib/libcudnn.so.9",
		site + "nvidia_cuda_nvrtc-13.2.86.dist-info/RECORD", site + "nvidia_cublas-13.4.1.3.dist-info/RECORD",
		site + "nvidia_cudnn_cu13-9.26.0.51.dist-info/RECORD",
	}
}

// toolkit is what NVIDIA's packages install; a stub of the driver is part of it.
func toolkit(dir, version string) []string {
	major, _, _ := strings.Cut(version, ".")
	lib := dir + "targets/x86_64-linux/lib/"
	return []string{
		lib + "libnvrtc.so." + version, lib + "libnvrtc.so." + major + " -> libnvrtc.so." + version,
		lib + "libnvrtc-builtins.so." + version,
		lib + "libcublasLt.so." + version, lib + "libcublasLt.so." + major + " -> libcublasLt.so." + version,
		lib + "stubs/libcuda.so.1", lib + "stubs/libnvidia-ml.so.1",
		dir + "lib64 -> targets/x86_64-linux/lib",
	}
}

func TestSearch(t *testing.T) {
	join := slices.Concat[[]string]
	env := map[string]string{"VIRTUAL_ENV": "ROOT/home/u/env", "HOME": "ROOT/home/u"}
	system := []string{
		"usr/lib/x86_64-linux-gnu/libcuda.so.1", "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
		"usr/lib/x86_64-linux-gnu/libOpenCL.so.1", "usr/lib/x86_64-linux-gnu/libclblast.so.1.5.3",
		"usr/lib/x86_64-linux-gnu/libclblast.so.1 -> libclblast.so.1.5.3",
	}
	for _, c := range []struct {
		name  string
		env   map[string]string
		files []string
		want  Want
		major int
		found map[Name]string // the path, a space, the version; a problem after !
	}{
		{name: "nothing", found: map[Name]string{}},
		{name: "the wheels of CUDA 12 in an environment", env: env, files: join(wheels12(site), system), major: 12, found: map[Name]string{
			NVRTC:    site + "nvidia/cuda_nvrtc/lib/libnvrtc.so.12 12.8.93",
			CublasLt: site + "nvidia/cublas/lib/libcublasLt.so.12 12.8.4.1",
			CuDNN:    site + "nvidia/cudnn/lib/libcudnn.so.9 9.10.2.21",
			CUDA:     "usr/lib/x86_64-linux-gnu/libcuda.so.1", NVML: "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
			OpenCL: "usr/lib/x86_64-linux-gnu/libOpenCL.so.1", CLBlast: "usr/lib/x86_64-linux-gnu/libclblast.so.1 1.5.3",
		}},
		{name: "the wheels of CUDA 13 in an environment", env: env, files: wheels13(site), major: 13, found: map[Name]string{
			NVRTC:    site + "nvidia/cu13/lib/libnvrtc.so.13 13.2.86",
			CublasLt: site + "nvidia/cu13/lib/libcublasLt.so.13 13.4.1.3",
			CuDNN:    site + "nvidia/cudnn/lib/libcudnn.so.9 9.26.0.51",
		}},
		{name: "the environment before the system's Python, though older", env: env, files: join(wheels12(site), wheels13(twin)), major: 12, found: map[Name]string{
			NVRTC:    site + "nvidia/cuda_nvrtc/lib/libnvrtc.so.12 12.8.93",
			CublasLt: site + "nvidia/cublas/lib/libcublasLt.so.12 12.8.4.1",
			CuDNN:    site + "nvidia/cudnn/lib/libcudnn.so.9 9.10.2.21",
		}},
		{name: "the newer of two toolkits, cuDNN of Debian's packages", files: join(toolkit("usr/local/cuda-12.4/", "12.4.127"), toolkit("usr/local/cuda-12.10/", "12.10.33"),
			[]string{"usr/lib/x86_64-linux-gnu/libcudnn.so.9.5.1", "usr/lib/x86_64-linux-gnu/libcudnn.so.9 -> libcudnn.so.9.5.1"}), major: 12, found: map[Name]string{
			NVRTC:    "usr/local/cuda-12.10/lib64/libnvrtc.so.12 12.10.33",
			CublasLt: "usr/local/cuda-12.10/lib64/libcublasLt.so.12 12.10.33",
			CuDNN:    "usr/lib/x86_64-linux-gnu/libcudnn.so.9 9.5.1",
		}},
		{name: "the toolkit that is chosen, before that of a higher number", env: map[string]string{"CUDA_HOME": "ROOT/usr/local/cuda-12.4"},
			files: join(toolkit("usr/local/cuda-12.4/", "12.4.127"), toolkit("usr/local/cuda-13.0/", "13.0.48")), major: 12, found: map[Name]string{
				NVRTC:    "usr/local/cuda-12.4/lib64/libnvrtc.so.12 12.4.127",
				CublasLt: "usr/local/cuda-12.4/lib64/libcublasLt.so.12 12.4.127",
			}},
		{name: "a driver of CUDA 12", want: Want{Driver: 12040}, files: join(toolkit("usr/local/cuda-13.0/", "13.0.48"), toolkit("usr/local/cuda-12.4/", "12.4.127")), major: 12, found: map[Name]string{
			NVRTC:    "usr/local/cuda-12.4/lib64/libnvrtc.so.12 12.4.127",
			CublasLt: "usr/local/cuda-12.4/lib64/libcublasLt.so.12 12.4.127",
		}},
		{name: "a V100 with CUDA 13 only", env: env, want: Want{Driver: 13000, Capability: 70}, files: wheels13(site), found: map[Name]string{
			NVRTC:    "!$VIRTUAL_ENV (ROOT/home/u/env) has that of CUDA 13, but a device of compute capability 7.0 ends with CUDA 12.9",
			CublasLt: "!$VIRTUAL_ENV (ROOT/home/u/env) has that of CUDA 13, but a device of compute capability 7.0 ends with CUDA 12.9",
			CuDNN:    "!$VIRTUAL_ENV (ROOT/home/u/env) has that of CUDA 13, but a device of compute capability 7.0 ends with CUDA 12.9",
		}},
		{name: "a V100 with a cuDNN that is too new", env: env, want: Want{Capability: 70}, files: append(wheels12(site)[:6:6], site+"nvidia_cudnn_cu12-9.12.0.46.dist-info/RECORD"), major: 12, found: map[Name]string{
			NVRTC:    site + "nvidia/cuda_nvrtc/lib/libnvrtc.so.12 12.8.93",
			CublasLt: site + "nvidia/cublas/lib/libcublasLt.so.12 12.8.4.1",
			CuDNN:    site + "nvidia/cudnn/lib/libcudnn.so.9 9.12.0.46!version 9.12 has nothing for a device of compute capability 7.0; the last that has is 9.10",
		}},
		{name: "a cuDNN for another CUDA is passed over", env: env, files: join(wheels12(site)[:3], []string{site + "nvidia/cudnn/lib/libcudnn.so.9", site + "nvidia_cudnn_cu13-9.26.0.51.dist-info/RECORD"}, wheels12(twin)), major: 12, found: map[Name]string{
			NVRTC:    site + "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
			CublasLt: site + "nvidia/cublas/lib/libcublasLt.so.12",
			CuDNN:    twin + "nvidia/cudnn/lib/libcudnn.so.9 9.10.2.21",
		}},
		{name: "Conda", env: map[string]string{"CONDA_PREFIX": "ROOT/opt/conda/envs/e"}, files: []string{
			"opt/conda/envs/e/lib/libnvrtc.so.12.6.85", "opt/conda/envs/e/lib/libnvrtc.so.12 -> libnvrtc.so.12.6.85", "opt/conda/envs/e/lib/libcublasLt.so.12",
		}, major: 12, found: map[Name]string{NVRTC: "opt/conda/envs/e/lib/libnvrtc.so.12 12.6.85", CublasLt: "opt/conda/envs/e/lib/libcublasLt.so.12"}},
		{name: "what users install for themselves", env: env, files: wheels13("home/u/.local/lib/python3.11/site-packages/"), major: 13, found: map[Name]string{
			NVRTC:    "home/u/.local/lib/python3.11/site-packages/nvidia/cu13/lib/libnvrtc.so.13 13.2.86",
			CublasLt: "home/u/.local/lib/python3.11/site-packages/nvidia/cu13/lib/libcublasLt.so.13 13.4.1.3",
			CuDNN:    "home/u/.local/lib/python3.11/site-packages/nvidia/cudnn/lib/libcudnn.so.9 9.26.0.51",
		}},
		{name: "an environment under /opt", files: wheels13("opt/pt/.venv/lib/python3.11/site-packages/")[:3], major: 13, found: map[Name]string{
			NVRTC:    "opt/pt/.venv/lib/python3.11/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
			CublasLt: "opt/pt/.venv/lib/python3.11/site-packages/nvidia/cu13/lib/libcublasLt.so.13",
		}},
		{name: "the loader's configuration", files: []string{"data/cuda/libnvrtc.so.12"}, major: 12, found: map[Name]string{NVRTC: "data/cuda/libnvrtc.so.12"}},
		{name: "WSL", files: []string{"usr/lib/wsl/lib/libcuda.so.1", "usr/lib/wsl/lib/libnvidia-ml.so.1"}, found: map[Name]string{
			CUDA: "usr/lib/wsl/lib/libcuda.so.1", NVML: "usr/lib/wsl/lib/libnvidia-ml.so.1"}},
		{name: "a container's driver", files: []string{"usr/local/nvidia/lib64/libcuda.so.1"}, found: map[Name]string{CUDA: "usr/local/nvidia/lib64/libcuda.so.1"}},
		{name: "stubs and folders of the name are no libraries", env: map[string]string{"LD_LIBRARY_PATH": "ROOT/usr/local/cuda/lib64/stubs:relative"},
			files: []string{"usr/local/cuda/lib64/stubs/libcuda.so.1", "usr/lib/x86_64-linux-gnu/libnvrtc.so.12/x", "usr/lib/libcublasLt.so.12 -> nowhere"}, found: map[Name]string{}},
		{name: "the variable comes first", env: map[string]string{"VIRTUAL_ENV": "ROOT/home/u/env", Variable: "ROOT/mine:ROOT/other/site-packages"},
			files: join(wheels13(site), []string{"mine/libcuda.so.1", "mine/libnvrtc.so.12"}, wheels12("other/site-packages/"), system), major: 12, found: map[Name]string{
				CUDA: "mine/libcuda.so.1", NVRTC: "mine/libnvrtc.so.12",
				CublasLt: "other/site-packages/nvidia/cublas/lib/libcublasLt.so.12 12.8.4.1", CuDNN: "other/site-packages/nvidia/cudnn/lib/libcudnn.so.9 9.10.2.21",
				NVML: "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", OpenCL: "usr/lib/x86_64-linux-gnu/libOpenCL.so.1", CLBlast: "usr/lib/x86_64-linux-gnu/libclblast.so.1 1.5.3",
			}},
		{name: "the variable bounds the search", env: map[string]string{"VIRTUAL_ENV": "ROOT/home/u/env", Variable: "ROOT/mine:none"},
			files: join(wheels13(site), []string{"mine/libcuda.so.1"}, system), found: map[Name]string{CUDA: "mine/libcuda.so.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tree(t, c.env, c.files...)
			if err := os.MkdirAll(filepath.Join(s.root, "etc", "ld.so.conf.d"), 0o777); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"ld.so.conf": "include ld.so.conf.d/*.conf\n", "ld.so.conf.d/a.conf": "# ours\n/data/cuda # too\n"} {
				if err := os.WriteFile(filepath.Join(s.root, "etc", filepath.FromSlash(file)), []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			found := s.run(c.want)
			if found.Major != c.major {
				t.Errorf("CUDA %d, want %d", found.Major, c.major)
			}
			for _, l := range found.All() {
				got := l.Path
				if l.Version != "" {
					got += " " + l.Version
				}
				if l.Problem != "" {
					got += "!" + l.Problem
				}
				got = strings.TrimPrefix(strings.ReplaceAll(got, s.root, "ROOT"), "ROOT/")
				if got != c.found[l.Name] {
					t.Errorf("%s: %q, want %q", l.Name, got, c.found[l.Name])
				}
				if l.Brings == "" || l.Get == "" || l.Title == "" || (l.Path != "") != (l.From != "") {
					t.Errorf("%+v lacks something", l)
				}
			}
		})
	}
}

// What is missing is told with what it would bring and how to get it, in the version that
// the device and the driver can use.
func TestMissing(t *testing.T) {
	for _, c := range []struct {
		want Want
		name Name
		says string
	}{
		{Want{}, CuDNN, "pip install nvidia-cudnn-cu13,"},
		{Want{}, CublasLt, "pip install nvidia-cublas,"},
		{Want{}, NVRTC, "without it nothing runs on them"},
		{Want{Driver: 12040}, NVRTC, "pip install nvidia-cuda-nvrtc-cu12,"},
		{Want{Driver: 13000, Capability: 70}, CuDNN, `pip install "nvidia-cudnn-cu12<9.11",`},
		{Want{Driver: 11080}, NVRTC, "install a driver that serves CUDA 12 or later, then pip install nvidia-cuda-nvrtc-cu12"},
		{Want{}, CUDA, "install the driver"},
		{Want{}, CLBlast, "apt install libclblast1"},
	} {
		s := tree(t, nil, "usr/lib/x86_64-linux-gnu/libz.so.1")
		_, err := s.run(c.want).Open(c.name)
		var missing *MissingError
		if dl.Supported() != nil {
			t.Skip("this build cannot open libraries")
		}
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "was not found in the system's folders for libraries") {
			t.Errorf("%s for %+v: %v; it should say %q", c.name, c.want, err, c.says)
		}
	}
}

// Libraries are opened from where they were found, those that another will look for before
// it, and each once. The libraries are real ones that write down that they were loaded.
func TestOpen(t *testing.T) {
	cxx, err := exec.LookPath("g++")
	testenv.Require(t, "g++", err == nil, "no g++")
	if err := dl.Supported(); err != nil {
		t.Skip(err)
	}
	if runtime.GOOS != "linux" {
		t.Skip("the names are those of Linux")
	}
	dir := t.TempDir()
	logFile := filepath.Join(dir, "loaded")
	build := func(name, text string) {
		t.Helper()
		source := filepath.Join(dir, "source.cc")
		text = fmt.Sprintf("#include <cstdio>\nnamespace { struct L { L() { if (FILE *f = fopen(%q, \"a\")) { fputs(%q, f); fclose(f); } } } l; }\nextern \"C\" {\n%s\n}\n", logFile, name+"\n", text)
		if err := os.WriteFile(source, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(cxx, "-shared", "-fPIC", "-O0", "-o", filepath.Join(dir, name), source).CombinedOutput(); err != nil {
			t.Fatalf("g++: %v\n%s", err, out)
		}
	}
	build("libnvrtc-builtins.so.12.8", "")
	build("libnvrtc.so.12", "int nvrtcVersion(int *a, int *b) { *a = 12; *b = 8; return 0; }")
	build("libcublasLt.so.12", "size_t cublasLtGetVersion() { return 120804; }")
	build("libcudnn.so.9", "size_t cudnnGetVersion() { return 91002; }\nsize_t cudnnGetCudartVersion() { return 12090; }")
	search := func(w Want) *Libraries {
		s := newSearch()
		s.getenv = func(name string) string {
			if name == Variable {
				return dir + string(filepath.ListSeparator) + None
			}
			return ""
		}
		return s.run(w)
	}
	found := search(Want{Capability: 90})
	for range 2 {
		if _, err := found.Open(CuDNN); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	if want := "libnvrtc-builtins.so.12.8\nlibnvrtc.so.12\nlibcublasLt.so.12\nlibcudnn.so.9\n"; string(loaded) != want {
		t.Errorf("loaded\n%swant\n%s", loaded, want)
	}
	if v := found.Library(CuDNN).Version; v != "9.10.2" {
		t.Errorf("cuDNN says %q", v)
	}
	if v := found.Library(CublasLt).Version; v != "12.8.4" {
		t.Errorf("cuBLASLt says %q", v)
	}
	if lib, err := found.Open(NVRTC); err != nil || lib.Path() != filepath.Join(dir, "libnvrtc.so.12") {
		t.Errorf("NVRTC: %v %v", lib, err)
	}
	if _, err := found.Open(CUDA); err == nil || !strings.Contains(err.Error(), "nothing else, as "+Variable+" says") {
		t.Errorf("a driver in a bounded search: %v", err)
	}

	// What a library says of itself, and what is no library.
	for _, c := range []struct{ name, text, says string }{
		{"libcudnn.so.9", "size_t cudnnGetVersion() { return 91002; }\nsize_t cudnnGetCudartVersion() { return 13000; }", "it is for CUDA 13, and what else was found for CUDA 12"},
		{"libcudnn.so.9", "size_t cudnnGetVersion() { return 8907; }", "it says that its version is 8907"},
		{"libcudnn.so.9", "size_t cudnnGetVersion() { return 91100; }\nsize_t cudnnGetCudartVersion() { return 12090; }", "version 9.11 has nothing for a device of compute capability 7.0"},
	} {
		// A new folder: the loader knows a file that it has open.
		dir = t.TempDir()
		build("libnvrtc.so.12", "")
		build(c.name, c.text)
		if _, err := search(Want{Capability: 70}).Open(CuDNN); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v; it should say %q", err, c.says)
		}
		if _, err := search(Want{}).Open(NVRTC); err == nil || !strings.Contains(err.Error(), "libnvrtc-builtins of its version, which it needs, is not beside it") {
			t.Errorf("NVRTC without its built-in functions: %v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "libcublasLt.so.12"), []byte("not a library"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := search(Want{}).Open(CublasLt); err == nil || !strings.Contains(err.Error(), "libcublasLt.so.12 cannot be used: ") {
		t.Errorf("a file that is no library: %v", err)
	}
}
