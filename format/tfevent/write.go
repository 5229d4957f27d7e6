package tfevent

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Writer writes an event file. Its methods may be called by several goroutines; the
// first error stays.
type Writer struct {
	mutex  sync.Mutex
	out    *bufio.Writer
	file   io.Closer // nil if it is not ours
	err    error
	record []byte
	now    func() time.Time
}

// Create begins an event file in a folder, under a name as TensorBoard expects it:
// events.out.tfevents.<seconds>.<host>.<process>. TensorBoard shows all files of a
// folder as one run.
func Create(dir string) (*Writer, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	stem := fmt.Sprintf("events.out.tfevents.%d.%s.%d", time.Now().Unix(), strings.ReplaceAll(host, string(filepath.Separator), "_"), os.Getpid())
	for n := 0; ; n++ {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%s.%d", stem, n)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if errors.Is(err, os.ErrExist) && n < 1000 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("tfevent: %w", err)
		}
		w := NewWriter(f)
		w.file = f
		return w, w.Flush()
	}
}

// NewWriter begins a file on any writer.
func NewWriter(out io.Writer) *Writer {
	w := &Writer{out: bufio.NewWriterSize(out, 1<<16), now: time.Now}
	w.Write(Event{FileVersion: fileVersion})
	return w
}

// Write appends an event. Without a time it is now.
func (w *Writer) Write(e Event) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.err != nil {
		return w.err
	}
	if e.WallTime == 0 {
		e.WallTime = float64(w.now().UnixMicro()) / 1e6
	}
	r := append(w.record[:0], make([]byte, header)...)
	r = e.append(r)
	body := r[header:]
	binary.LittleEndian.PutUint64(r, uint64(len(body)))
	binary.LittleEndian.PutUint32(r[8:], masked(r[:8]))
	r = binary.LittleEndian.AppendUint32(r, masked(body))
	w.record = r
	if _, err := w.out.Write(r); err != nil {
		w.err = fmt.Errorf("tfevent: %w", err)
	}
	return w.err
}

// Flush hands what was written to the system, so that who follows the file sees it.
func (w *Writer) Flush() error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if err := w.out.Flush(); err != nil && w.err == nil {
		w.err = fmt.Errorf("tfevent: %w", err)
	}
	return w.err
}

// Close flushes, and closes a file that Create has opened.
func (w *Writer) Close() error {
	err := w.Flush()
	if w.file != nil {
		err = errors.Join(err, w.file.Close())
		w.file = nil
	}
	return err
}

// Scalar writes a number.
func (w *Writer) Scalar(tag string, step int64, v float64) error {
	f := float32(v)
	return w.value(step, Value{Tag: tag, Scalar: &f})
}

// Histogram writes a distribution: see [NewHistogram].
func (w *Writer) Histogram(tag string, step int64, h *Histogram) error {
	return w.value(step, Value{Tag: tag, Histogram: h})
}

// Image writes a picture, as PNG.
func (w *Writer) Image(tag string, step int64, picture image.Image) error {
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return fmt.Errorf("tfevent: the image %s: %w", tag, err)
	}
	channels := 4
	switch p := picture.(type) {
	case *image.Gray, *image.Gray16:
		channels = 1
	case interface{ Opaque() bool }:
		if p.Opaque() {
			channels = 3
		}
	}
	size := picture.Bounds().Size()
	return w.value(step, Value{Tag: tag, Image: &Image{size.Y, size.X, channels, b.Bytes()}})
}

// Text writes a text, which TensorBoard shows as Markdown.
func (w *Writer) Text(tag string, step int64, markdown string) error {
	return w.value(step, Value{Tag: tag + "/text_summary", Plugin: "text",
		Tensor: &Tensor{DType: String, Shape: []int64{1}, Strings: []string{markdown}}})
}

// PRCurve is a precision-recall curve: counts and rates at ascending thresholds, all of
// one length.
type PRCurve struct {
	TruePositives, FalsePositives, TrueNegatives, FalseNegatives []float64
	Precision, Recall                                            []float64
}

// PRCurve writes a precision-recall curve.
func (w *Writer) PRCurve(tag string, step int64, c PRCurve) error {
	n := len(c.Precision)
	t := &Tensor{DType: Float, Shape: []int64{6, int64(n)}}
	for _, row := range [][]float64{c.TruePositives, c.FalsePositives, c.TrueNegatives, c.FalseNegatives, c.Precision, c.Recall} {
		if len(row) != n {
			return fmt.Errorf("tfevent: the curve %s has rows of %d and of %d thresholds", tag, n, len(row))
		}
		for _, v := range row {
			t.Floats = append(t.Floats, float32(v))
		}
	}
	// PrCurvePluginData: version 0, num_thresholds.
	content := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), uint64(n))
	return w.value(step, Value{Tag: tag, Plugin: "pr_curves", Content: content, Tensor: t})
}

// Node is a node of a graph.
type Node struct {
	Name   string // parts in each other by slashes: "net/conv1"
	Op     string
	Inputs []string // names of nodes
	Shape  []int64  // of its output; nil: not known
	Attrs  map[string]string
}

// Graph writes a graph for TensorBoard's Graphs page.
func (w *Writer) Graph(nodes []Node) error {
	var g []byte
	for _, n := range nodes {
		var b []byte
		b = appendString(b, 1, n.Name)
		b = appendString(b, 2, n.Op)
		for _, in := range n.Inputs {
			b = appendString(b, 3, in)
		}
		attr := func(key string, value []byte) {
			b = appendBytes(b, 5, appendBytes(appendString(nil, 1, key), 2, value))
		}
		for _, key := range slices.Sorted(maps.Keys(n.Attrs)) {
			attr(key, appendString(nil, 2, n.Attrs[key]))
		}
		if n.Shape != nil { // a list of one shape
			attr("_output_shapes", appendBytes(nil, 1, appendBytes(nil, 7, shape(n.Shape))))
		}
		g = appendBytes(g, 1, b)
	}
	// versions: producer 22
	g = appendBytes(g, 4, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 22))
	return w.Write(Event{Graph: g})
}

// HParams writes the hyper-parameters of a run, numbers, texts and truth values by
// name, and the tags of the metrics by which runs are compared. TensorBoard wants a
// word at the end too: see HParamsEnd.
func (w *Writer) HParams(params map[string]any, metrics []string) error {
	var experiment, start []byte
	for _, name := range slices.Sorted(maps.Keys(params)) {
		var value []byte
		kind := uint64(0)
		switch v := params[name].(type) {
		case string:
			kind, value = 1, appendString(nil, 3, v)
		case bool:
			kind, value = 2, protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), protowire.EncodeBool(v))
		case int:
			kind, value = 3, appendDouble(nil, 2, float64(v))
		case int64:
			kind, value = 3, appendDouble(nil, 2, float64(v))
		case uint64:
			kind, value = 3, appendDouble(nil, 2, float64(v))
		case float64:
			kind, value = 3, appendDouble(nil, 2, v)
		default:
			return fmt.Errorf("tfevent: the hyper-parameter %s is a %T; expected a number, a string or a bool", name, v)
		}
		info := protowire.AppendVarint(protowire.AppendTag(appendString(nil, 1, name), 4, protowire.VarintType), kind)
		experiment = appendBytes(experiment, 4, info)
		start = appendBytes(start, 1, appendBytes(appendString(nil, 1, name), 2, value))
	}
	for _, tag := range metrics {
		experiment = appendBytes(experiment, 5, appendBytes(nil, 1, appendString(nil, 2, tag)))
	}
	start = appendDouble(start, 5, float64(w.now().Unix()))
	if err := w.hparams("experiment", 2, experiment); err != nil {
		return err
	}
	return w.hparams("session_start_info", 3, start)
}

// HParamsEnd says how the run of HParams ended.
func (w *Writer) HParamsEnd(ok bool) error {
	status := uint64(1)
	if !ok {
		status = 2
	}
	end := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), status)
	return w.hparams("session_end_info", 4, appendDouble(end, 2, float64(w.now().Unix())))
}

func (w *Writer) hparams(tag string, field protowire.Number, content []byte) error {
	return w.value(0, Value{Tag: "_hparams_/" + tag, Plugin: "hparams", Content: appendBytes(nil, field, content),
		// TensorBoard reads the content only, but wants a value.
		Tensor: &Tensor{DType: Float, Floats: []float32{0}}})
}

func (w *Writer) value(step int64, v Value) error {
	return w.Write(Event{Step: step, Values: []Value{v}})
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendString(b []byte, field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), strings.ToValidUTF8(v, "\uFFFD"))
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
}

func appendDoubles(b []byte, field protowire.Number, v []float64) []byte {
	packed := make([]byte, 0, 8*len(v))
	for _, x := range v {
		packed = protowire.AppendFixed64(packed, math.Float64bits(x))
	}
	return appendBytes(b, field, packed)
}

// append writes the message.
func (e *Event) append(b []byte) []byte {
	b = appendDouble(b, 1, e.WallTime)
	b = appendInt(b, 2, e.Step)
	if e.FileVersion != "" {
		b = appendString(b, 3, e.FileVersion)
	}
	if e.Graph != nil {
		b = appendBytes(b, 4, e.Graph)
	}
	if len(e.Values) > 0 {
		var summary []byte
		for i := range e.Values {
			summary = appendBytes(summary, 1, e.Values[i].append(nil))
		}
		b = appendBytes(b, 5, summary)
	}
	if e.SessionStart {
		b = appendBytes(b, 7, appendInt(nil, 1, 1))
	}
	return b
}

func (v *Value) append(b []byte) []byte {
	b = appendString(b, 1, v.Tag)
	if v.Scalar != nil {
		b = protowire.AppendFixed32(protowire.AppendTag(b, 2, protowire.Fixed32Type), math.Float32bits(*v.Scalar))
	}
	if i := v.Image; i != nil {
		m := appendInt(nil, 1, int64(i.Height))
		m = appendInt(m, 2, int64(i.Width))
		m = appendInt(m, 3, int64(i.Colorspace))
		b = appendBytes(b, 4, appendBytes(m, 4, i.Encoded))
	}
	if h := v.Histogram; h != nil {
		var m []byte
		for k, x := range []float64{h.Min, h.Max, h.Num, h.Sum, h.SumSquares} {
			m = appendDouble(m, protowire.Number(k+1), x)
		}
		b = appendBytes(b, 5, appendDoubles(appendDoubles(m, 6, h.Limits), 7, h.Counts))
	}
	if v.Tensor != nil {
		b = appendBytes(b, 8, v.Tensor.append(nil))
	}
	if v.Plugin != "" || v.DisplayName != "" || v.Description != "" {
		var m []byte
		if v.Plugin != "" {
			p := appendString(nil, 1, v.Plugin)
			if len(v.Content) > 0 {
				p = appendBytes(p, 2, v.Content)
			}
			m = appendBytes(m, 1, p)
		}
		if v.DisplayName != "" {
			m = appendString(m, 2, v.DisplayName)
		}
		if v.Description != "" {
			m = appendString(m, 3, v.Description)
		}
		b = appendBytes(b, 9, m)
	}
	return b
}

func (t *Tensor) append(b []byte) []byte {
	b = appendInt(b, 1, int64(t.DType))
	b = appendBytes(b, 2, shape(t.Shape))
	if t.Raw != nil {
		b = appendBytes(b, 4, t.Raw)
	}
	if t.Floats != nil {
		packed := make([]byte, 0, 4*len(t.Floats))
		for _, x := range t.Floats {
			packed = protowire.AppendFixed32(packed, math.Float32bits(x))
		}
		b = appendBytes(b, 5, packed)
	}
	if t.Doubles != nil {
		b = appendDoubles(b, 6, t.Doubles)
	}
	for _, s := range t.Strings {
		b = appendString(b, 8, s)
	}
	if t.Ints != nil {
		var packed []byte
		for _, x := range t.Ints {
			packed = protowire.AppendVarint(packed, uint64(x))
		}
		field := protowire.Number(10) // int64_val
		if t.DType == Int32 {
			field = 7
		}
		b = appendBytes(b, field, packed)
	}
	return b
}

// shape is a TensorShapeProto.
func shape(dims []int64) []byte {
	var b []byte
	for _, d := range dims {
		b = appendBytes(b, 2, appendInt(nil, 1, d))
	}
	return b
}
