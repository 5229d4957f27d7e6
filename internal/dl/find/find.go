// Package find looks for the shared libraries of vendors: which are there, where, of what
// version, and what is missing, what it would bring and how to get it.
//
// # Where
//
// Folders are looked at in this order, and the first that has a library wins:
//
//  1. those that the environment variable SINTER_LIBRARY_PATH lists (see Variable)
//  2. Python's: $VIRTUAL_ENV, $CONDA_PREFIX, ~/.local, environments under /opt, the
//     system's Python. Pip's packages of CUDA 12 put libraries into nvidia/PACKAGE/lib,
//     those of CUDA 13 into nvidia/cu13/lib
//  3. those of the system's loader: LD_LIBRARY_PATH, /etc/ld.so.conf, the usual ones
//  4. toolkits: $CUDA_HOME, $CUDA_PATH, /usr/local/cuda, /usr/local/cuda-*
//
// A folder called stubs is never looked at: what lies there serves for linking only.
//
// # One major version
//
// What CUDA's libraries share, each other among that, is tied to their major version, so
// all that is used is of one. The first folder that has NVRTC in a version that can be used
// decides, the newer one where it has two. A version can be used if the driver serves it,
// and CUDA 13 only if every device has a compute capability of 7.5 or more.
//
// # Opening
//
// Libraries are opened by their full path, each after what it would look for itself:
// NVRTC's built-in functions before NVRTC; the driver, NVRTC and cuBLASLt before cuDNN. So no library
// takes another one than was found here.
package find

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter/internal/dl"
)

// Variable is the environment variable with the folders to look at first, in the system's
// form of a list of paths. A folder may be one with libraries, a toolkit, a Python or Conda
// environment, or its site-packages. The driver, OpenCL and CLBlast are looked for there,
// too. Where the list has None, the search ends: nothing else is looked at.
const (
	Variable = "SINTER_LIBRARY_PATH"
	None     = "none"
)

// Name names a library.
type Name string

const (
	CUDA     Name = "cuda" // the driver
	NVML     Name = "nvml"
	NVRTC    Name = "nvrtc"
	CublasLt Name = "cublaslt"
	CuDNN    Name = "cudnn"
	OpenCL   Name = "opencl"
	CLBlast  Name = "clblast"
)

// Library is what is known of a library.
type Library struct {
	Name    Name
	Title   string // as its vendor calls it
	Path    string // its file, empty if it was not found
	Version string // as far as its file tells, and after Open as itself tells; may be empty
	From    string // which of the places that were looked at it was found in
	Brings  string // what it is for
	Get     string // how to get it
	Problem string // why it cannot be used although it, or another version, was found
}

// known is the libraries, in the order in which Sinter has use for them.
var known = []Library{
	{Name: CUDA, Title: "the NVIDIA driver", Brings: "makes NVIDIA's devices usable",
		Get: "install the driver of your system's packages or from nvidia.com: 525.60.13 or later for CUDA 12, 580 or later for CUDA 13; under WSL, the one for Windows"},
	{Name: NVRTC, Title: "NVRTC", Brings: "compiles kernels for NVIDIA's devices; without it nothing runs on them"},
	{Name: CublasLt, Title: "cuBLASLt", Brings: "has NVIDIA's matrix products; without it Sinter's own are used, which are slower"},
	{Name: CuDNN, Title: "cuDNN", Brings: "has NVIDIA's convolutions and attention; without it Sinter's own are used, which are slower"},
	{Name: NVML, Title: "NVML", Brings: "tells memory, power, temperature and MIG state of NVIDIA's devices", Get: "it comes with the NVIDIA driver (libnvidia-ml1 or nvidia-utils, where packages are split)"},
	{Name: OpenCL, Title: "the OpenCL loader", Brings: "makes devices of OpenCL usable",
		Get: "Debian and Ubuntu: apt install ocl-icd-libopencl1, and the vendor's driver: mesa-opencl-icd or rocm-opencl-icd for AMD, intel-opencl-icd for Intel, pocl-opencl-icd for the CPU"},
	{Name: CLBlast, Title: "CLBlast", Brings: "has tuned matrix products for OpenCL; without it Sinter's own are used", Get: "Debian and Ubuntu: apt install libclblast1"},
}

// Title is what a library's vendor calls it.
func Title(n Name) string {
	for _, l := range known {
		if l.Name == n {
			return l.Title
		}
	}
	panic("find: no library is called " + string(n))
}

// Usable tells whether a library was found and nothing is known that speaks against it.
func (l *Library) Usable() bool { return l.Path != "" && l.Problem == "" }

// MissingError is a library that cannot be used: it was not found, or has a problem.
type MissingError struct {
	Library Library
	Looked  []string // places
}

func (e *MissingError) Error() string {
	l := &e.Library
	var b strings.Builder
	switch {
	case l.Path != "":
		fmt.Fprintf(&b, "%s at %s cannot be used: %s", l.Title, l.Path, l.Problem)
	case l.Problem != "":
		fmt.Fprintf(&b, "%s was not found in a version that can be used: %s", l.Title, l.Problem)
	default:
		fmt.Fprintf(&b, "%s was not found in %s", l.Title, strings.Join(e.Looked, ", "))
	}
	fmt.Fprintf(&b, ". It %s. To get it: %s", l.Brings, l.Get)
	return b.String()
}

// Want is what libraries of CUDA have to suit.
type Want struct {
	Driver     int // what the driver serves, 12040 for CUDA 12.4; 0 if not known
	Capability int // the lowest of the devices', 70 for 7.0; 0 if not known
}

// Majors are the major versions of CUDA that Sinter knows, the newest first.
var Majors = []int{13, 12}

// Libraries is what a search has found.
type Libraries struct {
	Major int // of CUDA's libraries, 0 if there are none
	want  Want

	mu     sync.Mutex
	list   []Library
	opened map[Name]opened
	looked []string
	search *search
}

type opened struct {
	lib *dl.Library
	err error
}

// Search looks for all libraries. It opens none.
func Search(w Want) *Libraries { return newSearch().run(w) }

// All is the libraries, in the order in which Sinter has use for them.
func (s *Libraries) All() []Library {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// Library is one of them.
func (s *Libraries) Library(n Name) Library {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.of(n)
}

func (s *Libraries) of(n Name) *Library {
	i := slices.IndexFunc(s.list, func(l Library) bool { return l.Name == n })
	if i < 0 {
		panic("find: no library is called " + string(n))
	}
	return &s.list[i]
}

// Open opens a library, once, after those that it wants to find open. The error is a
// *MissingError, or that of package dl if this build cannot open libraries.
func (s *Libraries) Open(n Name) (*dl.Library, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(n)
}

func (s *Libraries) open(n Name) (*dl.Library, error) {
	if o, ok := s.opened[n]; ok {
		return o.lib, o.err
	}
	lib, err := s.openNow(n)
	s.opened[n] = opened{lib, err}
	return lib, err
}

func (s *Libraries) openNow(n Name) (*dl.Library, error) {
	if err := dl.Supported(); err != nil {
		return nil, err
	}
	l := s.of(n)
	if l.Path == "" && wheels[n] == nil && !s.search.bounded() {
		// The system's loader knows more folders than can be read from its configuration.
		if lib, err := dl.Open(s.search.files(n, 0)...); err == nil {
			l.Path, l.From = lib.Path(), "what the system's loader knows"
			return lib, nil
		}
	}
	if !l.Usable() {
		return nil, &MissingError{Library: *l, Looked: s.looked}
	}
	switch n {
	case NVRTC:
		// NVRTC opens its built-in functions by their name alone when it compiles.
		builtins := s.search.builtins(l.Path)
		if builtins == "" {
			l.Problem = "libnvrtc-builtins of its version, which it needs, is not beside it"
			return nil, &MissingError{Library: *l}
		}
		if _, err := dl.Open(builtins); err != nil {
			l.Problem = err.Error()
			return nil, &MissingError{Library: *l}
		}
	case CuDNN:
		// It opens them by name when it first has use for them, and works in part without.
		s.open(CUDA)
		s.open(NVRTC)
		s.open(CublasLt)
	}
	lib, err := dl.Open(l.Path)
	if err != nil {
		l.Problem = err.Error()
		return nil, &MissingError{Library: *l}
	}
	if l.Problem = s.inspect(l, lib); l.Problem != "" {
		return nil, &MissingError{Library: *l}
	}
	return lib, nil
}

// inspect asks a library for its version, and tells what speaks against it.
func (s *Libraries) inspect(l *Library, lib *dl.Library) string {
	ask := func(name string) int {
		f, err := lib.Lookup(name)
		if err != nil {
			return 0
		}
		return int(f.Call())
	}
	switch l.Name {
	case CublasLt:
		if v := ask("cublasLtGetVersion"); v >= 100000 {
			l.Version = fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
		}
	case CuDNN:
		v := ask("cudnnGetVersion")
		if v < 90000 {
			return fmt.Sprintf("it says that its version is %d; Sinter knows cuDNN 9", v)
		}
		l.Version = fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
		if major := ask("cudnnGetCudartVersion") / 1000; major != s.Major {
			return fmt.Sprintf("it is for CUDA %d, and what else was found for CUDA %d", major, s.Major)
		}
		return cudnnProblem(v/10000, v/100%100, s.want)
	}
	return ""
}

// cudnnProblem tells why a version of cuDNN does not suit: 9.11 and later have nothing for
// devices before compute capability 7.5.
func cudnnProblem(major, minor int, w Want) string {
	if w.Capability != 0 && w.Capability < 75 && major*100+minor > 910 {
		return fmt.Sprintf("version %d.%d has nothing for a device of compute capability %d.%d; the last that has is 9.10",
			major, minor, w.Capability/10, w.Capability%10)
	}
	return ""
}

// search is where libraries are looked for: on this machine, or in the tree of a test.
type search struct {
	root         string // before every absolute path, for tests
	getenv       func(string) string
	goos, goarch string
}

func newSearch() *search {
	return &search{getenv: os.Getenv, goos: runtime.GOOS, goarch: runtime.GOARCH}
}

// place is folders that belong together.
type place struct {
	name string
	dirs []string
}

func (s *search) run(w Want) *Libraries {
	found := &Libraries{want: w, search: s, opened: make(map[Name]opened)}
	places := s.places()
	for _, p := range places {
		found.looked = append(found.looked, p.name)
	}
	usable := Majors
	why := ""
	if w.Driver != 0 && w.Driver < 1000*Majors[0] {
		usable = slices.DeleteFunc(slices.Clone(usable), func(m int) bool { return m > w.Driver/1000 })
		why = fmt.Sprintf("the driver serves CUDA up to %d.%d", w.Driver/1000, w.Driver%1000/10)
	}
	if w.Capability != 0 && w.Capability < 75 {
		usable = slices.DeleteFunc(slices.Clone(usable), func(m int) bool { return m > 12 })
		why = fmt.Sprintf("a device of compute capability %d.%d ends with CUDA 12.9", w.Capability/10, w.Capability%10)
	}
	found.Major = s.major(places, usable)

	for _, l := range known {
		major := 0
		if wheel, ok := wheels[l.Name]; ok {
			major = found.Major
			l.Get = wheel.get(major, usable, w)
		}
		if major != 0 || wheels[l.Name] == nil {
			l.Path, l.From = s.find(places, l.Name, major)
		}
		if l.Path != "" {
			l.Version = s.version(l.Name, l.Path)
			if l.Name == CuDNN {
				if v := numbers(l.Version); len(v) > 1 {
					l.Problem = cudnnProblem(v[0], v[1], w)
				}
			}
		} else if wheels[l.Name] != nil && why != "" {
			for _, m := range Majors {
				if p, from := s.find(places, l.Name, m); p != "" && !slices.Contains(usable, m) {
					l.Problem = fmt.Sprintf("%s has that of CUDA %d, but %s", from, m, why)
					break
				}
			}
		}
		found.list = append(found.list, l)
	}
	return found
}

// major decides which CUDA is used.
func (s *search) major(places []place, usable []int) int {
	for _, n := range []Name{NVRTC, CublasLt} {
		for i := range places {
			for _, m := range usable {
				if p, _ := s.find(places[i:i+1], n, m); p != "" {
					return m
				}
			}
		}
	}
	return 0
}

// find is the first file of a library, and the name of its place. A cuDNN that is known to
// be of another CUDA is passed over.
func (s *search) find(places []place, n Name, major int) (file, from string) {
	for _, p := range places {
		for _, dir := range p.dirs {
			for _, name := range s.files(n, major) {
				file := filepath.Join(dir, name)
				if st, err := os.Stat(file); err != nil || st.IsDir() {
					continue
				}
				if n == CuDNN && !slices.Contains(s.cudnnMajors(file), major) {
					continue
				}
				return file, p.name
			}
		}
	}
	return "", ""
}

// files is a library's names.
func (s *search) files(n Name, major int) []string {
	if s.goos == "windows" {
		switch n {
		case CUDA:
			return []string{"nvcuda.dll"}
		case NVML:
			return []string{"nvml.dll"}
		case NVRTC:
			return []string{fmt.Sprintf("nvrtc64_%d0_0.dll", major)}
		case CublasLt:
			return []string{fmt.Sprintf("cublasLt64_%d.dll", major)}
		case CuDNN:
			return []string{"cudnn64_9.dll"}
		case OpenCL:
			return []string{"OpenCL.dll"}
		}
		return []string{"clblast.dll"}
	}
	if s.goos == "darwin" {
		switch n {
		case OpenCL:
			return []string{"OpenCL"}
		case CLBlast:
			return []string{"libclblast.1.dylib", "libclblast.dylib"}
		}
		return nil
	}
	switch n {
	case CUDA:
		return []string{"libcuda.so.1"}
	case NVML:
		return []string{"libnvidia-ml.so.1"}
	case NVRTC:
		return []string{fmt.Sprintf("libnvrtc.so.%d", major)}
	case CublasLt:
		return []string{fmt.Sprintf("libcublasLt.so.%d", major)}
	case CuDNN:
		return []string{"libcudnn.so.9"}
	case OpenCL:
		return []string{"libOpenCL.so.1", "libOpenCL.so"}
	}
	return []string{"libclblast.so.1", "libclblast.so"}
}

// builtins is the library of NVRTC's built-in functions beside it, empty if there is none.
func (s *search) builtins(nvrtc string) string {
	pattern := "libnvrtc-builtins.so.*"
	if s.goos == "windows" {
		pattern = "nvrtc-builtins64_*.dll"
	}
	// Of several, as two toolkits leave in one folder, the one of the file's version.
	list := glob(filepath.Join(filepath.Dir(nvrtc), pattern))
	if real, err := filepath.EvalSymlinks(nvrtc); err == nil && len(list) > 1 {
		if v := numbers(strings.TrimPrefix(filepath.Base(real), "libnvrtc.so.")); len(v) > 1 {
			same := filepath.Join(filepath.Dir(nvrtc), fmt.Sprintf("libnvrtc-builtins.so.%d.%d", v[0], v[1]))
			if slices.Contains(list, same) {
				return same
			}
		}
	}
	for _, file := range slices.Backward(list) {
		if st, err := os.Stat(file); err == nil && !st.IsDir() && sameMajor(nvrtc, file) {
			return file
		}
	}
	return ""
}

// sameMajor compares what stands behind .so. in two names, where it stands there.
func sameMajor(a, b string) bool {
	_, va, _ := strings.Cut(filepath.Base(a), ".so.")
	_, vb, _ := strings.Cut(filepath.Base(b), ".so.")
	na, nb := numbers(va), numbers(vb)
	return len(na) == 0 || len(nb) == 0 || na[0] == nb[0]
}

// wheel is a package of pip: its name without the suffix for CUDA 12, and whether that for
// CUDA 13 has one as well.
type wheel struct {
	name     string
	suffix13 bool
}

var wheels = map[Name]*wheel{
	NVRTC:    {name: "nvidia-cuda-nvrtc"},
	CublasLt: {name: "nvidia-cublas"},
	CuDNN:    {name: "nvidia-cudnn", suffix13: true},
}

func (w *wheel) of(major int) string {
	if major >= 13 && !w.suffix13 {
		return w.name
	}
	return fmt.Sprintf("%s-cu%d", w.name, major)
}

// get is how to get a package that suits what was found and what there has to be.
func (w *wheel) get(major int, usable []int, want Want) string {
	if major == 0 {
		if len(usable) == 0 {
			return fmt.Sprintf("install a driver that serves CUDA %d or later, then pip install %s", slices.Min(Majors), w.of(slices.Min(Majors)))
		}
		major = usable[0]
	}
	name := w.of(major)
	if w.suffix13 && want.Capability != 0 && want.Capability < 75 {
		name = `"` + name + `<9.11"`
	}
	return fmt.Sprintf("pip install %s, in an environment that is active or that %s names; or NVIDIA's packages for CUDA %d", name, Variable, major)
}

// version is what a file's name, or the record of the package that it is from, tells.
func (s *search) version(n Name, file string) string {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		_, v, _ := strings.Cut(filepath.Base(real), ".so.")
		if len(numbers(v)) > 1 {
			return v
		}
	}
	if w := wheels[n]; w != nil {
		for _, major := range Majors {
			if list := s.records(file, w.of(major)); len(list) > 0 {
				if major == 13 && !w.suffix13 || len(s.records(file, w.name+"-cu*")) == 1 {
					return list[0]
				}
			}
		}
	}
	return ""
}

// cudnnMajors are the versions of CUDA that a cuDNN may be for: its name does not tell, but
// the record of its package does, if there is one such package only. Otherwise it says so
// itself when it is open.
func (s *search) cudnnMajors(file string) []int {
	var known []int
	for _, m := range Majors {
		if len(s.records(file, wheels[CuDNN].of(m))) > 0 {
			known = append(known, m)
		}
	}
	if len(known) == 0 {
		return Majors
	}
	return known
}

// records are the versions of the packages of a name that are installed in the
// site-packages that a file is in: of nvidia/…/lib/FILE, those are four levels up.
func (s *search) records(file, pkg string) []string {
	dir := filepath.Dir(file)
	for dir != filepath.Dir(dir) && filepath.Base(dir) != "nvidia" {
		dir = filepath.Dir(dir)
	}
	if filepath.Base(dir) != "nvidia" {
		return nil
	}
	var versions []string
	for _, r := range glob(filepath.Join(filepath.Dir(dir), strings.ReplaceAll(pkg, "-", "_")+"-*.dist-info")) {
		name := strings.TrimSuffix(filepath.Base(r), ".dist-info")
		versions = append(versions, name[strings.LastIndex(name, "-")+1:])
	}
	return versions
}

// places lists the folders to look at, in order.
func (s *search) places() []place {
	var places []place
	seen := make(map[string]bool)
	add := func(name string, dirs ...string) {
		p := place{name: name}
		for _, dir := range dirs {
			if seen[dir] || slices.Contains(strings.Split(filepath.ToSlash(dir), "/"), "stubs") {
				continue
			}
			if st, err := os.Stat(dir); err != nil || !st.IsDir() {
				continue
			}
			seen[dir] = true
			p.dirs = append(p.dirs, dir)
		}
		if len(p.dirs) > 0 {
			places = append(places, p)
		}
	}
	for _, dir := range filepath.SplitList(s.getenv(Variable)) {
		if dir == None {
			return append(places, place{name: fmt.Sprintf("nothing else, as %s says", Variable)})
		}
		add(Variable+" ("+dir+")", append([]string{dir}, s.within(dir)...)...)
	}
	for _, v := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := s.getenv(v); dir != "" {
			add("$"+v+" ("+dir+")", s.within(dir)...)
		}
	}
	if home := s.getenv("HOME"); home != "" {
		add("~/.local", s.within(filepath.Join(home, ".local"))...)
	}
	for _, pattern := range []string{"/opt/*/.venv", "/opt/*", "/usr/local", "/usr"} {
		for _, dir := range glob(s.at(pattern)) {
			if dir == s.at("/opt/cuda") {
				continue // a toolkit
			}
			add("Python in "+strings.TrimPrefix(dir, s.root), s.python(dir)...)
		}
	}
	if s.goos == "windows" {
		add("PATH", s.list("PATH")...)
		add("the system's folder", filepath.Join(s.getenv("SystemRoot"), "System32"))
	} else {
		add("LD_LIBRARY_PATH", s.list("LD_LIBRARY_PATH")...)
		add("the system's folders for libraries", s.system()...)
	}
	for _, v := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if dir := s.getenv(v); dir != "" {
			add("$"+v+" ("+dir+")", s.within(dir)...)
		}
	}
	toolkits := append(glob(s.at("/usr/local/cuda")), glob(s.at("/opt/cuda"))...)
	versions := glob(s.at("/usr/local/cuda-*"))
	slices.SortFunc(versions, func(a, b string) int {
		return slices.Compare(numbers(path.Base(filepath.ToSlash(b))[len("cuda-"):]), numbers(path.Base(filepath.ToSlash(a))[len("cuda-"):]))
	})
	for _, dir := range append(toolkits, versions...) {
		add(strings.TrimPrefix(dir, s.root), s.within(dir)...)
	}
	return places
}

// bounded tells whether only the folders of Variable are to be looked at.
func (s *search) bounded() bool {
	return s.root != "" || slices.Contains(filepath.SplitList(s.getenv(Variable)), None)
}

// at is a path of the machine.
func (s *search) at(p string) string { return filepath.FromSlash(s.root + p) }

// list is the paths of an environment variable.
func (s *search) list(variable string) []string {
	return slices.DeleteFunc(filepath.SplitList(s.getenv(variable)), func(p string) bool { return p == "" || !filepath.IsAbs(p) })
}

// within is the folders with libraries in an installation: a toolkit, an environment of
// Python or Conda, or site-packages.
func (s *search) within(dir string) []string {
	var dirs []string
	for _, sub := range []string{"nvidia/*/lib", "nvidia/*/bin", "nvidia/*/bin/x86_64"} {
		dirs = append(dirs, glob(filepath.Join(dir, filepath.FromSlash(sub)))...)
	}
	dirs = append(dirs, s.python(dir)...)
	subs := []string{"lib64", "lib", "targets/" + s.target() + "/lib"}
	if s.goos == "windows" {
		subs = []string{"bin/x64", "bin", "Library/bin"}
	}
	for _, sub := range subs {
		dirs = append(dirs, filepath.Join(dir, filepath.FromSlash(sub)))
	}
	return dirs
}

// python is the folders with libraries that packages of pip have in an environment.
func (s *search) python(dir string) []string {
	var dirs []string
	for _, sub := range []string{
		"lib/python3*/site-packages/nvidia/*/lib", "lib64/python3*/site-packages/nvidia/*/lib", "lib/python3*/dist-packages/nvidia/*/lib",
		"Lib/site-packages/nvidia/*/bin", "Lib/site-packages/nvidia/*/bin/x86_64",
	} {
		list := glob(filepath.Join(dir, filepath.FromSlash(sub)))
		slices.Reverse(list) // the newer Python, of two
		dirs = append(dirs, list...)
	}
	return dirs
}

// target is what NVIDIA calls the machine.
func (s *search) target() string {
	if s.goarch == "arm64" {
		return "sbsa-linux"
	}
	return "x86_64-linux"
}

// system is the folders that the system's loader looks at, and those where the driver lies
// under WSL and in containers.
func (s *search) system() []string {
	if s.goos == "darwin" {
		return []string{s.at("/System/Library/Frameworks/OpenCL.framework"), s.at("/opt/homebrew/lib"), s.at("/usr/local/lib")}
	}
	dirs := s.loader(s.at("/etc/ld.so.conf"), 0)
	triple := "x86_64-linux-gnu"
	if s.goarch == "arm64" {
		triple = "aarch64-linux-gnu"
	}
	for _, p := range []string{"/usr/local/lib", "/usr/lib/" + triple, "/lib/" + triple, "/usr/lib64", "/usr/lib", "/lib64", "/run/opengl-driver/lib", "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib"} {
		dirs = append(dirs, s.at(p))
	}
	return dirs
}

// loader reads the configuration of the system's loader: a folder a line, or files to include.
func (s *search) loader(file string, depth int) []string {
	text, err := os.ReadFile(file)
	if err != nil || depth > 4 {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "include":
			for _, pattern := range words[1:] {
				if !strings.HasPrefix(pattern, "/") {
					pattern = strings.TrimPrefix(filepath.ToSlash(filepath.Dir(file)), filepath.ToSlash(s.root)) + "/" + pattern
				}
				for _, f := range glob(s.at(pattern)) {
					dirs = append(dirs, s.loader(f, depth+1)...)
				}
			}
		case strings.HasPrefix(words[0], "/"):
			dirs = append(dirs, s.at(words[0]))
		}
	}
	return dirs
}

// glob is the files of a pattern, in order.
func glob(pattern string) []string {
	list, err := filepath.Glob(pattern)
	if err != nil {
		return nil // a path with a bracket in it: nothing is found there
	}
	return list
}

var digits = regexp.MustCompile(`^\d+(\.\d+)*`)

// numbers is the numbers of a version that a text begins with.
func numbers(s string) []int {
	var v []int
	for _, w := range strings.Split(digits.FindString(s), ".") {
		n, err := strconv.Atoi(w)
		if err != nil {
			return v
		}
		v = append(v, n)
	}
	return v
}
