package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter"
)

// JSONField is what one key of the objects of a JSONL file becomes.
type JSONField struct {
	// Key names a member of the object; dots lead into objects within: "meta.label".
	Key string
	// Field is what it becomes. Numbers and arrays of them, nested as the shape says,
	// become any type; true and false become 1 and 0.
	Field Field
	// Classes makes a string, a number or a boolean the number, from 0, of the class that
	// it names. The field is int64 without a shape.
	Classes []string
	// Encode makes a string tokens. The field is int64 and ragged; what is longer than
	// its shape is cut off.
	Encode func(text string) ([]int64, error)
}

// NewJSONL is a stream of JSONL files, one JSON object in each line, compressed by gzip
// or not. The fields are chosen by their keys; others are passed over.
func NewJSONL(paths []string, fields ...JSONField) (*Lines, error) {
	all := make([]Field, len(fields))
	classes := make([]map[string]int64, len(fields))
	for i, f := range fields {
		all[i] = f.Field
		if all[i].Name == "" {
			all[i].Name = f.Key
		}
		if f.Classes != nil {
			all[i].DType, all[i].Shape, all[i].Ragged = sinter.Int64, nil, false
			classes[i] = map[string]int64{}
			for k, name := range f.Classes {
				classes[i][name] = int64(k)
			}
		}
		if f.Encode != nil && (f.Field.DType != sinter.Int64 || !f.Field.Ragged || len(f.Field.Shape) != 1) {
			return nil, fmt.Errorf("data: JSONL: the text %q becomes %v, expected ragged int64 with one axis", f.Key, f.Field)
		}
		if all[i].DType == sinter.Float16 || all[i].DType == sinter.BFloat16 || all[i].DType.Size() == 0 {
			return nil, fmt.Errorf("data: JSONL: %q becomes %s; expected float32, float64, an integer type or bool", f.Key, all[i].DType)
		}
		if f.Key == "" || f.Encode == nil && all[i].Ragged {
			return nil, fmt.Errorf("data: JSONL: field %d, %q: expected a key, and only tokens of text to be ragged", i, f.Key)
		}
	}
	fields = slices.Clone(fields)
	return NewLines(paths, all, func(line []byte, dst [][]byte) error {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(line, &object); err != nil {
			return badJSON(err)
		}
		for i, f := range fields {
			value, err := member(object, f.Key)
			if err != nil {
				return err
			}
			switch {
			case f.Encode != nil:
				var text string
				if err := json.Unmarshal(value, &text); err != nil || value[0] != '"' {
					return fmt.Errorf("%q is %s, expected a text", f.Key, brief(value))
				}
				ids, err := f.Encode(text)
				if err != nil {
					return fmt.Errorf("%q: %w", f.Key, err)
				}
				ids = ids[:min(len(ids), f.Field.Shape[0])]
				dst[i] = dst[i][:8*len(ids)]
				copy(dst[i], bytesOf(ids))
			case f.Classes != nil:
				name, ok := scalarText(value)
				k, known := classes[i][name]
				if !ok || !known {
					return fmt.Errorf("%q is %s, expected one of the classes %s", f.Key, brief(value), strings.Join(shorten(f.Classes, 20), ", "))
				}
				putInt(dst[i], sinter.Int64, 0, k)
			default:
				if err := putNumbers(dst[i], all[i], value); err != nil {
					return fmt.Errorf("%q: %w", f.Key, err)
				}
			}
		}
		return nil
	})
}

// badJSON says what is wrong with a line.
func badJSON(err error) error {
	return fmt.Errorf("not a JSON object: %w; expected one in each line, like {\"text\": \"…\", \"label\": 1}", err)
}

// brief is a value as messages quote it.
func brief(value []byte) string {
	if len(value) > 40 {
		return string(value[:40]) + "…"
	}
	return string(value)
}

// member finds a key of an object, or of one within it.
func member(object map[string]json.RawMessage, key string) (json.RawMessage, error) {
	if v, ok := object[key]; ok {
		return v, nil
	}
	first, rest, dotted := strings.Cut(key, ".")
	if v, ok := object[first]; ok && dotted {
		var inner map[string]json.RawMessage
		if err := json.Unmarshal(v, &inner); err != nil {
			return nil, fmt.Errorf("%q is %s, expected an object with the key %q", first, brief(v), rest)
		}
		return member(inner, rest)
	}
	known := make([]string, 0, len(object))
	for k := range object {
		known = append(known, k)
	}
	slices.Sort(known)
	if len(known) == 0 {
		return nil, fmt.Errorf("there is no key %q: the object is empty", key)
	}
	return nil, fmt.Errorf("there is no key %q; %s", key, suggest(key, shorten(known, 1000)))
}

// scalarText is the text of a string, number or boolean.
func scalarText(value []byte) (string, bool) {
	switch {
	case len(value) == 0 || value[0] == '{' || value[0] == '[' || string(value) == "null":
		return "", false
	case value[0] == '"':
		var s string
		err := json.Unmarshal(value, &s)
		return s, err == nil
	}
	return string(value), true
}

// putNumbers writes a number, or numbers nested as the field's shape, to dst.
func putNumbers(dst []byte, f Field, value json.RawMessage) error {
	if len(f.Shape) == 0 {
		return putNumber(dst, f.DType, 0, string(value))
	}
	at := 0
	var walk func(value json.RawMessage, shape []int) error
	walk = func(value json.RawMessage, shape []int) error {
		var items []json.RawMessage
		if err := json.Unmarshal(value, &items); err != nil || len(items) != shape[0] {
			return fmt.Errorf("found %s with %d elements, expected an array of %d", brief(value), len(items), shape[0])
		}
		for _, v := range items {
			if len(shape) > 1 {
				if err := walk(v, shape[1:]); err != nil {
					return err
				}
				continue
			}
			if err := putNumber(dst, f.DType, at, string(v)); err != nil {
				return err
			}
			at++
		}
		return nil
	}
	return walk(value, f.Shape)
}

// putNumber writes a JSON number or boolean as element i.
func putNumber(dst []byte, dt sinter.DType, i int, text string) error {
	switch text {
	case "true":
		text = "1"
	case "false":
		text = "0"
	}
	if dt.IsFloat() {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("found %s, expected a number", brief([]byte(text)))
		}
		return putFloat(dst, dt, i, v)
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("found %s, expected a whole number", brief([]byte(text)))
	}
	if low, high := intRange(dt); v < low || v > high {
		return fmt.Errorf("found %d, expected a whole number from %d to %d, as %s holds", v, low, high, dt)
	}
	putInt(dst, dt, i, v)
	return nil
}

func intRange(dt sinter.DType) (low, high int64) {
	switch dt {
	case sinter.Bool:
		return 0, 1
	case sinter.Uint8:
		return 0, math.MaxUint8
	case sinter.Int8:
		return math.MinInt8, math.MaxInt8
	case sinter.Int32:
		return math.MinInt32, math.MaxInt32
	}
	return math.MinInt64, math.MaxInt64
}

func putFloat(dst []byte, dt sinter.DType, i int, v float64) error {
	f := float32(v)
	if math.IsInf(float64(f), 0) && dt != sinter.Float64 {
		return fmt.Errorf("%g is too large for %s", v, dt)
	}
	if dt == sinter.Float64 {
		putUint(dst[8*i:8*i+8], math.Float64bits(v))
	} else {
		putUint(dst[4*i:4*i+4], uint64(math.Float32bits(f)))
	}
	return nil
}

func putInt(dst []byte, dt sinter.DType, i int, v int64) {
	size := dt.Size()
	putUint(dst[size*i:size*i+size], uint64(v))
}

// putUint writes the low bytes of v, little-endian, as many as dst has.
func putUint(dst []byte, v uint64) {
	for i := range dst {
		dst[i] = byte(v)
		v >>= 8
	}
}

// maxJSONColumns bounds the columns that objects and arrays within others are spread
// over.
const maxJSONColumns = 1 << 14

// readJSONTable reads a JSONL file as a table: a column for every key, in the order in
// which the keys occur; members of objects within are columns "outer.inner", and
// elements of arrays "name.0", "name.1", …. A key that an object lacks, and null, is a
// missing value.
func readJSONTable(name string, text []byte) (*Table, error) {
	t := &Table{Name: name, Header: true, Delimiter: ','}
	index := map[string]int{}
	size, cells, line := len(text), 0, 0
	text = trimBOM(text)
	for len(text) > 0 {
		var one []byte
		one, text, _ = bytes.Cut(text, []byte("\n"))
		line++
		if len(bytes.TrimSpace(one)) == 0 {
			continue
		}
		row := make([]string, len(t.Columns))
		put := func(column, value string) error {
			i, ok := index[column]
			if !ok {
				if i = len(index); i >= maxJSONColumns {
					return fmt.Errorf("there are more than %d different keys; expected the same ones in every line", maxJSONColumns)
				}
				index[column] = i
				t.Columns = append(t.Columns, column)
			}
			if i >= len(row) {
				row = append(row, make([]string, i+1-len(row))...)
			}
			row[i] = value
			return nil
		}
		dec := json.NewDecoder(bytes.NewReader(one))
		dec.UseNumber()
		err := spread(dec, "", 0, put)
		if err == nil {
			if _, more := dec.Token(); !errors.Is(more, io.EOF) {
				err = errors.New("something follows the object")
			}
		}
		// Every value that is there takes some bytes of the file, so this is a bound on
		// those that are not.
		if cells += len(t.Columns); err == nil && cells > 1<<20+2*size {
			err = fmt.Errorf("%d keys were seen up to here, of which most lines have few; expected the same ones in every line", len(t.Columns))
		}
		if err != nil {
			return nil, fmt.Errorf("data: %s, line %d: %w", name, line, err)
		}
		t.rows, t.lines = append(t.rows, row), append(t.lines, line)
	}
	if len(t.rows) == 0 {
		return nil, fmt.Errorf("data: %s is empty, expected a JSON object in each line", name)
	}
	for i, row := range t.rows {
		if missing := len(t.Columns) - len(row); missing > 0 {
			t.rows[i] = append(row, make([]string, missing)...)
		}
	}
	return t, nil
}

// spread gives the values of the next object or array to put, under their names.
func spread(dec *json.Decoder, name string, depth int, put func(column, value string) error) error {
	if depth > maxJSONDepth {
		return fmt.Errorf("values are nested more than %d deep", maxJSONDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return badJSON(err)
	}
	if depth == 0 && token != json.Delim('{') {
		return badJSON(fmt.Errorf("it begins with %v", token))
	}
	inner := func(part string) string {
		if name == "" {
			return part
		}
		return name + "." + part
	}
	switch v := token.(type) {
	case json.Delim:
		for i := 0; dec.More(); i++ {
			part := strconv.Itoa(i)
			if v == '{' {
				key, err := dec.Token()
				if err != nil {
					return badJSON(err)
				}
				part = key.(string) // the decoder lets nothing else stand for a key
			}
			if err := spread(dec, inner(part), depth+1, put); err != nil {
				return err
			}
		}
		if _, err := dec.Token(); err != nil {
			return badJSON(err)
		}
		return nil
	case nil:
		return put(name, "")
	case bool:
		return put(name, strconv.FormatBool(v))
	case json.Number:
		return put(name, v.String())
	case string:
		return put(name, strings.TrimSpace(v))
	}
	return nil
}

const maxJSONDepth = 8

// jsonTexts is the member "text" of every line, each on a new line.
func jsonTexts(name string, lines []byte) ([]byte, error) {
	var all []byte
	for line := 1; len(lines) > 0; line++ {
		var one []byte
		one, lines, _ = bytes.Cut(lines, []byte("\n"))
		if len(bytes.TrimSpace(one)) == 0 {
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(one, &object); err != nil {
			return nil, fmt.Errorf("data: %s, line %d: %w", name, line, badJSON(err))
		}
		value, err := member(object, "text")
		if err != nil {
			return nil, fmt.Errorf("data: %s, line %d: %w", name, line, err)
		}
		var text string
		if err := json.Unmarshal(value, &text); err != nil || value[0] != '"' {
			return nil, fmt.Errorf("data: %s, line %d: %q is %s, expected a text", name, line, "text", brief(value))
		}
		all = append(append(all, text...), '\n')
	}
	return all, nil
}
