package history

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter/power"
)

// Log follows a metrics.jsonl that may still grow.
type Log struct {
	Steps       Table        // columns "loss", "lr", "grad_norm", …
	Evaluations Table        // columns "train/loss", "test/loss", "train/accuracy", …
	Usage       *power.Usage // what the run has used, as its newest line has it; nil if none has
	Events      []Event
	Skipped     int // lines that are no measurements: damaged, or much too long

	name    string
	file    os.FileInfo // as it was when it was last read
	offset  int64       // up to here lines were taken in
	last    []byte      // what stands before offset, to see that it is still the same
	rest    []byte      // the beginning of a line that is not whole yet
	tooLong bool        // rest was given up
}

// Event is a line that is neither a step nor an evaluation.
type Event struct {
	Kind string  `json:"kind"` // checkpoint, control, scaler, note, …
	Step float64 `json:"step"`
	Text string  `json:"text"`
}

// Bounds of what is kept of a file that someone else wrote.
const (
	maxLine   = 1 << 20
	maxEvents = 1000
	maxText   = 1000

	remembered = 64 // bytes before the offset
)

// NewLog follows the file of this name, which may not exist yet.
func NewLog(name string) *Log { return &Log{name: name} }

// Follow takes in what was added since the last call. A file that became shorter or
// was replaced is read from its beginning.
func (l *Log) Follow() (changed bool, err error) {
	f, err := os.Open(l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return l.reset(), nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%s is not a file", l.name)
	}
	if l.file != nil && (!os.SameFile(l.file, info) || info.Size() < l.offset) {
		changed = l.reset()
	}
	if info.Size() == l.offset {
		l.file = info
		return changed, nil
	}
	// A run that goes on from a checkpoint cuts its log, which may have grown beyond
	// its old length since.
	before := make([]byte, len(l.last))
	if _, err := f.ReadAt(before, l.offset-int64(len(before))); err != nil || !bytes.Equal(before, l.last) {
		changed = l.reset() || changed
	}
	l.file = info
	if _, err := f.Seek(l.offset, io.SeekStart); err != nil {
		return changed, err
	}
	buffer := make([]byte, min(256<<10, info.Size()-l.offset))
	for l.offset < info.Size() {
		n, err := f.Read(buffer[:min(int64(len(buffer)), info.Size()-l.offset)])
		l.offset += int64(n)
		l.take(buffer[:n])
		l.last = append(l.last, buffer[max(0, n-remembered):n]...)
		l.last = l.last[max(0, len(l.last)-remembered):]
		changed = changed || n > 0
		if err == io.EOF {
			break
		}
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func (l *Log) reset() (changed bool) {
	changed = l.offset > 0
	*l = Log{name: l.name}
	return changed
}

// take splits content into lines.
func (l *Log) take(content []byte) {
	for len(content) > 0 {
		end := bytes.IndexByte(content, '\n')
		if end < 0 {
			if l.tooLong = l.tooLong || len(l.rest)+len(content) > maxLine; l.tooLong {
				l.rest = nil
			} else {
				l.rest = append(l.rest, content...)
			}
			return
		}
		line := content[:end]
		content = content[end+1:]
		if len(l.rest) > 0 {
			line = append(l.rest, line...)
			l.rest = l.rest[:0]
		}
		if l.tooLong || !l.line(line) {
			l.Skipped++
		}
		l.tooLong = false
	}
}

// line takes in one line and tells whether it was one.
func (l *Log) line(line []byte) bool {
	if len(bytes.TrimSpace(line)) == 0 {
		return true
	}
	fields, event, ok := scan(line)
	if !ok {
		var object map[string]any
		if json.Unmarshal(line, &object) != nil || object == nil {
			return false
		}
		event, _ = object["event"].(string)
		switch {
		case event == "step", event == "" && object["test_loss"] == nil && object["train_loss"] == nil,
			event == "evaluation", event == "":
			fields = flatten(object)
		default:
			l.event(event, object)
			return true
		}
	}
	if slices.ContainsFunc(fields, func(f field) bool { return f.name == "energy/joules" }) {
		var said struct {
			Energy *power.Usage `json:"energy"`
		}
		if json.Unmarshal(line, &said) == nil && said.Energy != nil {
			l.Usage = said.Energy
		}
	}
	if event == "" { // runs of before events were named
		event = "step"
		if slices.ContainsFunc(fields, func(f field) bool { return f.name == "train_loss" || f.name == "test_loss" }) {
			event = "evaluation"
		}
	}
	if !slices.ContainsFunc(fields, func(f field) bool { return f.name == "step" && present(f.value) }) {
		return false
	}
	if event == "step" {
		l.Steps.add(fields)
		return true
	}
	for i, f := range fields {
		switch part, name, ok := strings.Cut(f.name, "/"); {
		case f.name == "train_loss":
			fields[i].name = "train/loss"
		case f.name == "test_loss":
			fields[i].name = "test/loss"
		case ok && part == "train_metrics":
			fields[i].name = "train/" + name
		case ok && part == "metrics":
			fields[i].name = "test/" + name
		}
	}
	l.Evaluations.add(fields)
	return true
}

// event keeps a line to be read by people. A run that went on from a checkpoint may
// tell of a step for the second time; both stay, since both happened.
func (l *Log) event(kind string, object map[string]any) {
	e := Event{Kind: cut(kind, 40)}
	e.Step, _ = object["step"].(float64)
	var parts []string
	for _, key := range []string{"message", "text", "note"} {
		if text, ok := object[key].(string); ok {
			parts = append(parts, text)
			delete(object, key)
		}
	}
	for _, key := range []string{"event", "step", "seconds", "epoch", "sha256", "stall_seconds"} {
		delete(object, key)
	}
	said, isMap := object["said"].(map[string]any)
	if kind == "control" && isMap { // what was written into control.yaml says it all
		object = said
	}
	if name, ok := object["name"].(string); ok {
		parts = append(parts, name)
		delete(object, "name")
	}
	e.Text = cut(strings.Join(append(parts, pairs(object)...), ", "), maxText)
	if len(l.Events) == maxEvents {
		l.Events = slices.Delete(l.Events, 0, 1)
	}
	l.Events = append(l.Events, e)
}

// pairs are the keys of an object with their values, for people to read.
func pairs(object map[string]any) []string {
	var out []string
	for key, value := range object {
		text := ""
		switch v := value.(type) {
		case string:
			text = v
		case float64:
			if text = strconv.FormatFloat(v, 'g', 5, 64); v == math.Trunc(v) && math.Abs(v) < 1e15 {
				text = strconv.FormatInt(int64(v), 10)
			}
			if key == "bytes" {
				key, text = "size", fmt.Sprintf("%.1f MiB", v/(1<<20))
			}
		case map[string]any:
			if name, ok := v["name"].(string); ok && v["value"] != nil && len(v) == 2 { // a score
				out = append(out, pairs(map[string]any{name: v["value"]})...)
				continue
			}
			text = strings.Join(pairs(v), " ")
		default:
			if json, err := json.Marshal(v); err == nil {
				text = string(json)
			}
		}
		out = append(out, key+" "+text)
	}
	slices.Sort(out)
	return out
}

// cut leaves at most n bytes of a text, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

type field struct {
	name  string
	value float64
}

// scan reads the lines that there are millions of: flat objects of numbers, nulls, and
// an event that is a step or an evaluation. For any other it says so, and
// encoding/json has to look at it.
func scan(line []byte) (fields []field, event string, ok bool) {
	i := 0
	space := func() {
		for i < len(line) && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r') {
			i++
		}
	}
	is := func(c byte) bool {
		space()
		if i < len(line) && line[i] == c {
			i++
			return true
		}
		return false
	}
	word := func() (string, bool) {
		if !is('"') {
			return "", false
		}
		end := bytes.IndexAny(line[i:], "\"\\")
		if end < 0 || line[i+end] == '\\' {
			return "", false
		}
		s := line[i : i+end]
		i += end + 1
		return string(s), true
	}
	if !is('{') {
		return nil, "", false
	}
	fields = make([]field, 0, 12)
	for {
		name, ok := word()
		if !ok || !is(':') {
			return nil, "", false
		}
		space()
		if name == "event" {
			if event, ok = word(); !ok || event != "step" && event != "evaluation" {
				return nil, "", false
			}
		} else {
			start := i
			for i < len(line) && line[i] != ',' && line[i] != '}' {
				i++
			}
			text := strings.TrimRight(string(line[start:i]), " \t\r")
			v := math.NaN()
			if text != "null" {
				if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
					return nil, "", false
				}
				var err error
				if v, err = strconv.ParseFloat(text, 64); err != nil {
					return nil, "", false
				}
			}
			fields = append(fields, field{name, v})
		}
		if is('}') {
			space()
			return fields, event, i == len(line)
		}
		if !is(',') {
			return nil, "", false
		}
	}
}

// flatten lists the numbers of an object, those of objects in it as "outer/inner", and the
// amount of money there.
func flatten(object map[string]any) []field {
	var fields []field
	number := func(name string, v any) {
		switch v := v.(type) {
		case float64:
			fields = append(fields, field{name, v})
		case nil:
			fields = append(fields, field{name, math.NaN()})
		}
	}
	for name, v := range object {
		if inner, ok := v.(map[string]any); ok {
			for key, v := range inner {
				if money, ok := v.(map[string]any); ok {
					if v = money["amount"]; v == nil {
						continue
					}
				}
				number(name+"/"+key, v)
			}
			continue
		}
		number(name, v)
	}
	slices.SortFunc(fields, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	return fields
}
