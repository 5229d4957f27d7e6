package opencl

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/codegen/cache"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
)

// Kernels are compiled in modules: those of a program that are not there yet are divided
// among as many modules as the driver may compile at once. A module stays while a program
// uses one of its kernels, and some stay longer, for the same kernel is often wanted by
// the next program.

// module is kernels that were compiled together.
type module struct {
	program opencl.Program
	names   []string
	users   int // executables
}

type builds struct {
	mu      sync.Mutex
	modules []*module
	kernels map[string]*module // by name
	options string
	keeps   bool   // the driver keeps compiled programs on disk by itself
	key     string // what compiled code depends on besides its text
	store   store
}

// store keeps compiled modules on disk; see codegen/cache.
type store interface {
	Get(key string) ([]byte, bool)
	Put(key string, data []byte)
}

// maxModules is how many modules are kept that no program uses.
const maxModules = 128

func (b *builds) start(d *Device) {
	b.kernels = make(map[string]*module)
	b.store = cache.Default()
	b.options = strings.Join(codegen.Options(&d.target), " ")
	// PoCL has its own cache, and asked for what it has compiled it compiles every kernel
	// once more, for groups of any size: 94 ms for each, where the first launch takes 65.
	b.keeps = d.family == "Portable Computing Language"
	b.key = strings.Join([]string{d.family, d.info.Model, d.info.Driver, d.info.Version, b.options}, "\n")
}

// take returns the modules that hold the kernels, compiling what is missing. give gives
// them back.
func (d *Device) take(kernels []*codegen.Kernel) ([]*module, error) {
	b := &d.builds
	b.mu.Lock()
	defer b.mu.Unlock()
	var missing []*codegen.Kernel
	for _, k := range kernels {
		if b.kernels[k.Name] == nil {
			missing = append(missing, k)
		}
	}
	var built []*module
	if len(missing) > 0 {
		var err error
		if built, err = d.compile(missing); err != nil {
			return nil, err
		}
	}
	for _, m := range built {
		b.modules = append(b.modules, m)
		for _, name := range m.names {
			b.kernels[name] = m
		}
	}
	var used []*module
	for _, k := range kernels {
		if m := b.kernels[k.Name]; !slices.Contains(used, m) {
			used = append(used, m)
			m.users++
		}
	}
	return used, nil
}

func (d *Device) give(used []*module) {
	b := &d.builds
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range used {
		m.users--
	}
	idle := 0
	for i := len(b.modules) - 1; i >= 0; i-- { // the youngest stay
		m := b.modules[i]
		if m.users > 0 {
			continue
		}
		if idle++; idle > maxModules {
			for _, name := range m.names {
				delete(b.kernels, name)
			}
			d.cl.ReleaseProgram(m.program)
			b.modules = slices.Delete(b.modules, i, i+1)
		}
	}
}

// perModule is the least number of kernels that make a second module worthwhile: the
// prelude is compiled again for each.
const perModule = 8

// compile makes modules of the kernels, in parallel. (PoCL holds a lock while it compiles:
// there one module is best.)
func (d *Device) compile(kernels []*codegen.Kernel) ([]*module, error) {
	n := min(runtime.GOMAXPROCS(0), (len(kernels)+perModule-1)/perModule)
	if d.builds.keeps {
		n = 1
	}
	built := make([]*module, n)
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range built {
		part := kernels[i*len(kernels)/n : (i+1)*len(kernels)/n]
		wait.Go(func() {
			m := &module{}
			for _, k := range part {
				m.names = append(m.names, k.Name)
			}
			m.program, errs[i] = d.compileModule(part)
			built[i] = m
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		for i, m := range built {
			if errs[i] == nil {
				d.cl.ReleaseProgram(m.program)
			}
		}
		return nil, err
	}
	return built, nil
}

func (d *Device) compileModule(kernels []*codegen.Kernel) (opencl.Program, error) {
	b := &d.builds
	text := codegen.Module(kernels, &d.target)
	key := b.key + "\n" + text
	if !b.keeps {
		if image, ok := b.store.Get(key); ok {
			// What the driver does not take any more is compiled again.
			if p, err := d.cl.CreateProgramWithBinary(d.ctx, d.id, image); err == nil {
				if d.cl.BuildProgram(p, d.id, b.options) == nil {
					return p, nil
				}
				d.cl.ReleaseProgram(p)
			}
		}
	}
	p, err := d.cl.CreateProgramWithSource(d.ctx, text)
	if err != nil {
		return 0, err
	}
	if err := d.cl.BuildProgram(p, d.id, b.options); err != nil {
		log, _ := d.cl.ProgramBuildLog(p, d.id)
		d.cl.ReleaseProgram(p)
		return 0, &BuildError{Err: err, Log: log, Where: where(text, log)}
	}
	if !b.keeps {
		if image, err := d.cl.ProgramBinary(p); err == nil && len(image) > 0 {
			b.store.Put(key, image)
		}
	}
	return p, nil
}

// BuildError is a kernel that the driver's compiler does not take.
type BuildError struct {
	Err   error
	Log   string // the compiler's
	Where string // the line of the first message, with its kernel
}

func (e *BuildError) Error() string {
	log := e.Log
	const most = 2000
	if len(log) > most {
		log = log[:most] + "…"
	}
	s := e.Err.Error()
	if e.Where != "" {
		s += " at " + e.Where
	}
	return s + "; the compiler says:\n" + log
}

func (e *BuildError) Unwrap() error { return e.Err }

// message finds the line that a compiler complains about: clang's "<source>:12:3: error",
// NVIDIA's "<kernel>:12:3: error", Intel's "12:3: error", PoCL's "error: file:12:3:".
var message = regexp.MustCompile(`(?m)(?:(?:^|:)(\d+):\d+: (?:fatal )?error|^error: .*?:(\d+):\d+:)`)

// where is the line of text that log complains about first, with the kernel that it is in.
func where(text, log string) string {
	m := message.FindStringSubmatch(log)
	if m == nil {
		return ""
	}
	n, _ := strconv.Atoi(m[1] + m[2])
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	name := "the prelude"
	for _, l := range lines[n-1:] {
		// A kernel's text ends in ENTRY(name), behind what it has of helpers.
		if k, ok := strings.CutPrefix(l, "ENTRY("); ok {
			name = "kernel " + strings.TrimSuffix(k, ")")
			break
		}
	}
	return fmt.Sprintf("line %d, in %s: %s", n, name, strings.TrimSpace(lines[n-1]))
}
