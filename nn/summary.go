package nn

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Record tells that a layer has made y of xs, and returns y. It is how [Summarize] and
// the profiler learn which operations belong to which layer. All layers of this package
// do it; a layer of your own can, at the end of its Forward:
//
//	return nn.Record(l, y, x)
//
// What its own layers have recorded stays theirs. Record costs next to nothing unless
// somebody is looking.
func Record(layer any, y *sinter.Tensor, xs ...*sinter.Tensor) *sinter.Tensor {
	if ir.Tracing() {
		record(layer, y, xs)
	}
	return y
}

func record(layer any, y *sinter.Tensor, xs []*sinter.Tensor) {
	var in []*ir.Node
	for _, x := range xs {
		if x != nil {
			in = append(in, ir.NodeOf(x))
		}
	}
	ir.Within(layer, ir.NodeOf(y), in...)
}

// Summary is a model's table of layers, made by [Summarize].
type Summary struct {
	Model  string  `json:"model"`
	Input  []int   `json:"input"`
	Layers []Layer `json:"layers"` // in the order of the model's fields, the model itself first

	Parameters      int   `json:"parameters"`
	Trainable       int   `json:"trainable_parameters"`
	ParameterBytes  int64 `json:"parameter_bytes"`  // of variables, buffers included
	ActivationBytes int64 `json:"activation_bytes"` // of the outputs of all layers without parts
	FLOPs           int64 `json:"flops"`
	Elementwise     int64 `json:"elementwise_flops"`
}

// Layer is a line of the table. What it has and does is told without its parts that
// have lines of their own.
type Layer struct {
	Name   string `json:"name"` // its field path, as in the names of variables; empty for the model
	Type   string `json:"type"` // Linear, Conv2D, …
	DType  string `json:"dtype,omitempty"`
	Output []int  `json:"output,omitempty"` // shape; nil if the layer was not used
	Calls  int    `json:"calls"`

	Parameters     int   `json:"parameters"`
	Trainable      int   `json:"trainable_parameters"`
	ParameterBytes int64 `json:"parameter_bytes"`
	OutputBytes    int64 `json:"output_bytes"` // of all calls
	// FLOPs are those of matrix products and convolutions, a multiplication and an
	// addition each: 2·M·N·K for [M, K] × [K, N]. All else that calculates is in
	// Elementwise, one for each element and operation.
	FLOPs       int64 `json:"flops"`
	Elementwise int64 `json:"elementwise_flops"`
}

// Summarize records the forward pass of a model over x, whose values do not matter, in
// the mode that it is in, and lists its layers with the shapes of what they give, their
// parameters and the floating-point operations they take. Nothing is computed. Printed,
// it is a table as of Keras' model.summary().
//
// Layers are those of the fields that [Parameters] finds and that either have variables
// or tell what they do (see [Record]), as all layers of this package and of package
// models do. Operations in none of them count as the model's own.
func Summarize(model Module, x *sinter.Tensor) (l *Summary, err error) {
	defer ir.Recover(&err)
	t, out := trace(model, x)
	l = &Summary{Model: TypeName(model), Input: x.Shape()}
	root := &t.rows[0].Layer
	root.Calls, root.DType, root.Output = 1, out.DType.String(), out.Shape

	graph := ir.Substitute([]*ir.Node{out}, make(map[*ir.Node]*ir.Node)) // bodies instead of composites
	for _, n := range ir.Postorder(graph, func(n *ir.Node) []*ir.Node { return n.In }) {
		r := t.rowOf(n)
		w := n.Work()
		r.FLOPs += w.Products
		r.Elementwise += w.Elementwise
	}
	for i, r := range t.rows {
		if i == 0 || r.Calls > 0 || r.Parameters > 0 {
			l.Layers = append(l.Layers, r.Layer)
		}
		l.Parameters += r.Parameters
		l.Trainable += r.Trainable
		l.ParameterBytes += r.ParameterBytes
		if i > 0 && !t.container(r) { // what a container gives was given by a part of it
			l.ActivationBytes += r.OutputBytes
		}
		l.FLOPs += r.FLOPs
		l.Elementwise += r.Elementwise
	}
	return l, nil
}

// trace records what a model does with x, and which layer does it.
func trace(model Module, x *sinter.Tensor) (*table, *ir.Node) {
	stop := ir.TraceScopes()
	var y *sinter.Tensor
	func() {
		defer func() {
			if y == nil {
				stop()
			}
		}()
		y = model.Forward(x)
	}()
	t := newTable(model)
	for _, s := range stop() {
		t.use(s)
	}
	return t, ir.NodeOf(y)
}

// table finds the line of a layer.
type table struct {
	rows  []*row               // in the order of the fields; the first is the model's
	of    map[any]*row         // by layer
	owner map[*ir.Storage]*row // by variable
	last  *row
}

type row struct{ Layer }

func newTable(model any) *table {
	t := &table{of: make(map[any]*row), owner: make(map[*ir.Storage]*row)}
	byPath := make(map[string]*row)
	walk(model, nil, func(path string, layer any) {
		kind := reflect.TypeOf(layer)
		if kind.Kind() != reflect.Pointer || kind.Elem().Kind() != reflect.Struct {
			if len(t.rows) > 0 {
				return
			}
			layer = nil // a model that is a slice or a map has a line as well
		}
		r := byPath[path] // an embedded struct has the path of what it is embedded in
		if r == nil {
			r = &row{Layer: Layer{Name: path, Type: TypeName(layer)}}
			if layer == nil {
				r.Type = TypeName(model)
			}
			byPath[path] = r
			t.rows = append(t.rows, r)
		}
		if layer != nil {
			t.of[layer] = r
		}
	})
	if len(t.rows) == 0 { // a function
		t.rows = []*row{{Layer: Layer{Type: TypeName(model)}}}
	}
	walk(model, func(path string, v *sinter.Variable, buffer bool) {
		r := t.rows[0]
		for p := path; p != ""; {
			p = p[:max(0, strings.LastIndexByte(p, '.'))]
			if q := byPath[p]; q != nil {
				r = q
				break
			}
		}
		n := elements(v.Shape())
		if value := ir.NodeOf(v.Value()); value.Op == ir.Input {
			t.owner[value.Storage] = r
		}
		r.ParameterBytes += int64(n * v.DType().Size())
		if !buffer {
			r.Parameters += n
			if v.Trainable {
				r.Trainable += n
			}
		}
	}, nil)
	t.last = t.rows[0]
	return t
}

// use notes that a layer was used. One that no field leads to gets a line after the
// layer that was used before it.
func (t *table) use(s *ir.Scope) {
	r := t.of[s.Layer]
	if r == nil {
		name, ok := s.Layer.(string)
		if !ok {
			name = "(" + snake(TypeName(s.Layer)) + ")"
		}
		if parent := t.last.Name; strings.Contains(parent, ".") {
			name = parent[:strings.LastIndexByte(parent, '.')+1] + name
		}
		r = &row{Layer: Layer{Name: name, Type: TypeName(s.Layer)}}
		t.of[s.Layer] = r
		t.rows = slices.Insert(t.rows, slices.Index(t.rows, t.last)+1, r)
	}
	r.Calls++
	r.DType, r.Output = s.DType.String(), s.Shape
	r.OutputBytes += int64(elements(s.Shape) * s.DType.Size())
	t.last = r
}

// rowOf is the line that a node belongs to. Where no layer has told, it is that of a
// variable that the node reads.
func (t *table) rowOf(n *ir.Node) *row {
	if s := n.Site().Scope(); s != nil {
		if r := t.of[s.Layer]; r != nil {
			return r
		}
	}
	for _, x := range n.In {
		for x.Op.Class() == ir.ClassView || x.Op == ir.Convert {
			x = x.In[0]
		}
		if r := t.owner[x.Storage]; x.Op == ir.Input && r != nil {
			return r
		}
	}
	return t.rows[0]
}

// container tells whether parts of a layer have been used that have lines.
func (t *table) container(r *row) bool {
	return slices.ContainsFunc(t.rows, func(q *row) bool { return q.Calls > 0 && strings.HasPrefix(q.Name, r.Name+".") })
}

// TypeName is the name of a layer's type, without package and pointer.
func TypeName(x any) string {
	kind := reflect.TypeOf(x)
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	if name := kind.Name(); name != "" {
		return name
	}
	return kind.String()
}

// String is the table as text, with a line for each layer and the totals below.
func (l *Summary) String() string {
	rows := [][]string{{"layer", "type", "output", "parameters", "FLOPs", "elementwise", "bytes of parameters", "of outputs"}}
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return grouped(n)
	}
	for _, r := range l.Layers {
		name, shape := r.Name, ""
		if name == "" {
			name = "(model)"
		}
		if r.Output != nil {
			shape = fmt.Sprint(r.Output)
		}
		if r.Calls > 1 {
			shape += fmt.Sprintf(" ×%d", r.Calls)
		}
		rows = append(rows, []string{name, r.Type, shape, number(int64(r.Parameters)), number(r.FLOPs), number(r.Elementwise), number(r.ParameterBytes), number(r.OutputBytes)})
	}
	rows = append(rows, []string{"total", l.Model, fmt.Sprintf("of %v", l.Input), grouped(int64(l.Parameters)), grouped(l.FLOPs), grouped(l.Elementwise), grouped(l.ParameterBytes), grouped(l.ActivationBytes)})
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for k, r := range rows {
		if k == 1 || k == len(rows)-1 {
			for i, w := range width {
				if i > 0 {
					b.WriteString("  ")
				}
				b.WriteString(strings.Repeat("─", w))
			}
			b.WriteByte('\n')
		}
		line := ""
		for i, c := range r {
			if i > 0 {
				line += "  "
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i < 3 {
				line += c + pad
			} else {
				line += pad + c
			}
		}
		b.WriteString(strings.TrimRight(line, " "))
		b.WriteByte('\n')
	}
	if frozen := l.Parameters - l.Trainable; frozen > 0 {
		fmt.Fprintf(&b, "%s of the parameters are trained, %s are frozen\n", grouped(int64(l.Trainable)), grouped(int64(frozen)))
	}
	return b.String()
}

// grouped writes a number with commas between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// LayerNames gives the field paths of a model's layers, by their pointers.
func LayerNames(model any) map[any]string {
	names := make(map[any]string)
	for layer, r := range newTable(model).of {
		names[layer] = r.Name
	}
	return names
}
