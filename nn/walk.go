package nn

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Parameters lists the trainable variables of a model in the order of its fields
// and sets their names to their field paths: "blocks.0.attn.q.weight".
//
// The walk follows exported fields, pointers, interfaces, slices, arrays and maps
// (in the order of their keys). Embedded structs add nothing to the path, slice
// elements add their index, map elements their key. A field tag `nn:"name"`
// replaces the name, `nn:"-"` hides the field, `nn:",buffer"` marks a variable
// that is state but never trained. A layer or a variable that can be reached
// twice (tied weights, a pointer back to the parent) is listed once, under the
// first name.
//
// Variables whose Trainable flag is off are left out; see [Freeze].
func Parameters(model any) []*sinter.Variable {
	return list(model, func(v *sinter.Variable, buffer bool) bool { return !buffer && v.Trainable })
}

// State lists everything that a checkpoint of the model has to hold: all
// parameters, frozen ones too, and buffers such as running statistics. It sets
// names as [Parameters] does.
func State(model any) []*sinter.Variable {
	return list(model, func(*sinter.Variable, bool) bool { return true })
}

// Freeze excludes all parameters of a model, or of a part of one, from training.
func Freeze(model any) { setTrainable(model, false) }

// Unfreeze undoes [Freeze].
func Unfreeze(model any) { setTrainable(model, true) }

func setTrainable(model any, on bool) {
	walk(model, func(_ string, v *sinter.Variable, buffer bool) {
		if !buffer {
			v.Trainable = on && v.DType().IsFloat()
		}
	}, nil)
}

func list(model any, keep func(v *sinter.Variable, buffer bool) bool) []*sinter.Variable {
	var vars []*sinter.Variable
	names := map[string]bool{}
	walk(model, func(path string, v *sinter.Variable, buffer bool) {
		if names[path] {
			ir.Fail("nn.State", "two variables of %T are both named %q; give one of the fields another name or the tag `nn:\"name\"`", model, path)
		}
		names[path] = true
		v.Name = path
		if keep(v, buffer) {
			vars = append(vars, v)
		}
	}, nil)
	return vars
}

// LoadState copies values, by name, into the variables of a model. Shapes have to
// agree; element types are converted. With strict set, every name on either side
// must have its partner on the other; without, only common names are copied, as
// for a model whose last layer is new. Nothing is changed when an error is
// returned for a name or a shape.
func LoadState(model any, values map[string]*sinter.Tensor, strict bool) error {
	vars := State(model)
	known := make(map[string]bool, len(vars))
	var missing, unknown []string
	for _, v := range vars {
		known[v.Name] = true
		t, ok := values[v.Name]
		if !ok {
			missing = append(missing, v.Name)
			continue
		}
		if !slices.Equal(t.Shape(), v.Shape()) {
			return fmt.Errorf("nn: loading %s: the value has shape %v, the model's variable %v", v.Name, t.Shape(), v.Shape())
		}
	}
	for name := range values {
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	if strict && len(missing)+len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("nn: loading a state that does not fit the model: missing %v, unknown to the model %v", missing, unknown)
	}
	for _, v := range vars {
		t, ok := values[v.Name]
		if !ok {
			continue
		}
		data, err := t.To(v.DType()).Bytes()
		if err == nil {
			err = v.SetBytes(data)
		}
		if err != nil {
			return fmt.Errorf("nn: loading %s: %w", v.Name, err)
		}
	}
	return nil
}

// walk visits the variables and the layers of a model, each once. Either function
// may be nil.
func walk(model any, variable func(path string, v *sinter.Variable, buffer bool), layer func(path string, layer any)) {
	w := walker{variable: variable, layer: layer, seen: map[identity]bool{}}
	w.value("", reflect.ValueOf(model), false)
}

type walker struct {
	variable func(path string, v *sinter.Variable, buffer bool)
	layer    func(path string, layer any)
	seen     map[identity]bool
}

// identity is a place in memory. The type belongs to it because a struct and its
// first field share their address.
type identity struct {
	address uintptr
	length  int
	t       reflect.Type
}

// first tells whether a pointer, map or slice is met for the first time.
func (w *walker) first(v reflect.Value, length int) bool {
	id := identity{v.Pointer(), length, v.Type()}
	if w.seen[id] {
		return false
	}
	w.seen[id] = true
	return true
}

func (w *walker) value(path string, v reflect.Value, buffer bool) {
	if !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		w.value(path, v.Elem(), buffer)
	case reflect.Pointer:
		if v.IsNil() || !w.first(v, 0) {
			return
		}
		if x, ok := v.Interface().(*sinter.Variable); ok {
			if w.variable != nil {
				w.variable(path, x, buffer)
			}
			return
		}
		w.node(path, v, buffer)
	case reflect.Struct:
		if v.CanAddr() && !w.first(v.Addr(), 0) {
			return
		}
		w.node(path, v, buffer)
	case reflect.Slice:
		if v.IsNil() || leaf(v.Type().Elem()) || !w.first(v, v.Len()) {
			return
		}
		w.node(path, v, buffer)
	case reflect.Array:
		if !leaf(v.Type().Elem()) {
			w.node(path, v, buffer)
		}
	case reflect.Map:
		if v.IsNil() || leaf(v.Type().Elem()) || !w.first(v, 0) {
			return
		}
		w.node(path, v, buffer)
	}
}

// node calls the layer function on what can be one and goes on to the children.
func (w *walker) node(path string, v reflect.Value, buffer bool) {
	self := v
	if v.Kind() != reflect.Pointer && v.CanAddr() {
		self = v.Addr()
	}
	if self.CanInterface() {
		x := self.Interface()
		if w.layer != nil {
			w.layer(path, x)
		}
		if c, ok := x.(Container); ok {
			for name, child := range c.Children() {
				w.value(join(path, name), reflect.ValueOf(child), buffer)
			}
			return
		}
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		w.value(path, v, buffer)
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			p := path
			if f.name != "" {
				p = join(path, f.name)
			}
			w.value(p, v.Field(f.index), buffer || f.buffer)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			w.value(join(path, strconv.Itoa(i)), v.Index(i), buffer)
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int {
			if a.CanInt() && b.CanInt() {
				return cmp.Compare(a.Int(), b.Int())
			}
			return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
		})
		for _, k := range keys {
			w.value(join(path, fmt.Sprint(k)), v.MapIndex(k), buffer)
		}
	}
}

// leaf tells whether nothing can be found in values of a type, so that a slice of
// a million numbers in a model costs nothing.
func leaf(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Struct, reflect.Slice, reflect.Array, reflect.Map:
		return false
	}
	return true
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// field is one step of the plan of a struct type; name is empty for an embedded
// field.
type field struct {
	index  int
	name   string
	buffer bool
}

var plans sync.Map // reflect.Type → []field

// fieldsOf is the plan of a struct type: the fields to follow, made once.
func fieldsOf(t reflect.Type) []field {
	if p, ok := plans.Load(t); ok {
		return p.([]field)
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("nn"), ",")
		// An embedded struct is followed even if its type is not exported, because
		// the exported fields in it are promoted.
		promoted := f.Anonymous && f.Type.Kind() == reflect.Struct
		if name == "-" || leaf(f.Type) || !f.IsExported() && !promoted {
			continue
		}
		if name == "" && !f.Anonymous {
			name = snake(f.Name)
		}
		fields = append(fields, field{i, name, option == "buffer"})
	}
	plans.Store(t, fields)
	return fields
}

// snake turns a Go name into lower snake case. An underscore goes before a
// capital that begins a word: one after a small letter, or one before a small
// letter. So RunningMean is running_mean, LMHead lm_head, Conv2D conv2d, FC1 fc1.
func snake(name string) string {
	r := []rune(name)
	var b strings.Builder
	for i, c := range r {
		if unicode.IsUpper(c) && i > 0 && r[i-1] != '_' {
			afterSmall := unicode.IsLower(r[i-1])
			beforeSmall := i+1 < len(r) && unicode.IsLower(r[i+1])
			if afterSmall || beforeSmall {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
