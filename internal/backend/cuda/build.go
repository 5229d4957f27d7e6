package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dl/cuda"
)

// Kernels are compiled in modules: those of a program that are not there yet are divided
// among as many modules as there are processors. A module stays while a program uses one
// of its kernels, and some stay longer, for the next program often wants the same kernel.

// module is kernels that were compiled together.
type module struct {
	handle cuda.Module
	names  []string
	users  int // executables
}

// function is a kernel that can be launched.
type function struct {
	handle cuda.Function
	module *module
}

type builds struct {
	mu        sync.Mutex
	modules   []*module
	functions map[string]function // by name
	options   []string
	key       string // what compiled code depends on besides its text
	store     store
}

// store keeps compiled modules on disk; see codegen/cache.
type store interface {
	Get(key string) ([]byte, bool)
	Put(key string, data []byte)
}

// maxModules is how many modules are kept that no program uses.
const maxModules = 128

// perModule is the least number of kernels that make a second module worthwhile: the
// prelude is compiled again for each.
const perModule = 8

func (b *builds) start(d *Device, options []string, s store) {
	b.functions = make(map[string]function)
	b.options, b.store = options, s
	b.key = strings.Join(append([]string{"nvrtc " + d.compiler}, options...), " ")
	if d.dialect == codegen.Sim {
		b.key += " " + d.rtc.Path() // it is another one whenever its sources change
	}
}

// take returns the modules that hold the kernels, compiling what is missing. give gives
// them back.
func (d *Device) take(kernels []*codegen.Kernel) ([]*module, error) {
	b := &d.builds
	b.mu.Lock()
	defer b.mu.Unlock()
	var missing []*codegen.Kernel
	for _, k := range kernels {
		if _, ok := b.functions[k.Name]; !ok {
			missing = append(missing, k)
		}
	}
	if len(missing) > 0 {
		if err := d.compile(missing); err != nil {
			return nil, err
		}
	}
	var used []*module
	for _, k := range kernels {
		if m := b.functions[k.Name].module; !slices.Contains(used, m) {
			used = append(used, m)
			m.users++
		}
	}
	return used, nil
}

// give lets go of modules. Of those that nobody uses, the youngest stay.
func (d *Device) give(used []*module) {
	b := &d.builds
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range used {
		m.users--
	}
	idle := 0
	for i := len(b.modules) - 1; i >= 0; i-- {
		m := b.modules[i]
		if m.users > 0 {
			continue
		}
		if idle++; idle > maxModules {
			for _, name := range m.names {
				delete(b.functions, name)
			}
			b.modules = slices.Delete(b.modules, i, i+1)
			if d.Wait() == nil && d.begin() == nil { // what is in the queue may be of it
				_ = d.cu.ModuleUnload(m.handle)
				d.end()
			}
		}
	}
}

// function is the handle of a kernel that has been taken.
func (d *Device) function(name string) cuda.Function {
	d.builds.mu.Lock()
	defer d.builds.mu.Unlock()
	return d.builds.functions[name].handle
}

// compile makes modules of the kernels, in parallel.
func (d *Device) compile(kernels []*codegen.Kernel) error {
	n := min(runtime.GOMAXPROCS(0), (len(kernels)+perModule-1)/perModule)
	errs := make([]error, n)
	images := make([][]byte, n)
	parts := make([][]*codegen.Kernel, n)
	var wait sync.WaitGroup
	for i := range parts {
		parts[i] = kernels[i*len(kernels)/n : (i+1)*len(kernels)/n]
		wait.Go(func() { images[i], errs[i] = d.image(parts[i], true) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, part := range parts {
		if err := d.load(part, images[i]); err != nil {
			// What was found on disk may be damaged, or not be what this driver takes.
			image, again := d.image(part, false)
			if again == nil {
				again = d.load(part, image)
			}
			if again != nil {
				return again
			}
		}
	}
	return nil
}

// image is machine code of the kernels, from disk if it is there and cached is set.
func (d *Device) image(kernels []*codegen.Kernel, cached bool) ([]byte, error) {
	b := &d.builds
	text := codegen.Module(kernels, &d.target)
	key := b.key + "\n" + text
	if b.store != nil && cached {
		if image, ok := b.store.Get(key); ok {
			return image, nil
		}
	}
	image, _, err := d.rtc.Compile(text, kernels[0].Name+".cu", b.options)
	if err != nil {
		return nil, fmt.Errorf("compiling %d kernels for sm_%d: %w", len(kernels), d.target.Arch, err)
	}
	if b.store != nil {
		b.store.Put(key, image)
	}
	return image, nil
}

// load makes a module of machine code.
func (d *Device) load(kernels []*codegen.Kernel, image []byte) error {
	b := &d.builds
	err := d.begin()
	defer d.end()
	if err != nil {
		return err
	}
	m := &module{}
	if m.handle, err = d.cu.ModuleLoadData(image); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.fail("loading kernels", err)
	}
	functions := make([]function, len(kernels))
	for i, k := range kernels {
		h, err := d.cu.ModuleGetFunction(m.handle, k.Name)
		if err != nil {
			return errors.Join(err, d.cu.ModuleUnload(m.handle))
		}
		functions[i] = function{h, m}
		m.names = append(m.names, k.Name)
	}
	for i, k := range kernels {
		b.functions[k.Name] = functions[i]
	}
	b.modules = append(b.modules, m)
	return nil
}
