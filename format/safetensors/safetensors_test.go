package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// file puts the length before a header and the data behind it.
func file(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func open(b []byte) (*File, error) { return New(bytes.NewReader(b), int64(len(b)), "t.safetensors") }

// The bytes are spelled out from the format's description, not made by Write.
func TestRead(t *testing.T) {
	f, err := open(file(`{"__metadata__":{"format":"pt"},"b":{"dtype":"BOOL","shape":[2],"data_offsets":[8,10]},`+
		`"a":{"shape":[1,2],"data_offsets":[0,8],"dtype":"F32"},"s":{"dtype":"U8","shape":[],"data_offsets":[10,11]},`+
		`"none":{"dtype":"F64","shape":[0,4],"data_offsets":[10,10]}}  `, "\x00\x00\x80\x3f\x00\x00\x00\xc0\x01\x00\x07"))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Names(); !slices.Equal(got, []string{"a", "b", "none", "s"}) {
		t.Errorf("names %v", got)
	}
	a, err := f.Read("a")
	if err != nil || math.Float32frombits(binary.LittleEndian.Uint32(a)) != 1 || math.Float32frombits(binary.LittleEndian.Uint32(a[4:])) != -2 {
		t.Errorf("a = %v, %v", a, err)
	}
	if b, err := f.Read("b"); err != nil || !bytes.Equal(b, []byte{1, 0}) {
		t.Errorf("b = %v, %v", b, err)
	}
	info, ok := f.Info("s")
	if !ok || len(info.Shape) != 0 || info.DType != dtype.Uint8 || info.Bytes != 1 {
		t.Errorf("s = %+v", info)
	}
	if m := f.Metadata(); !maps.Equal(m, map[string]string{"format": "pt"}) {
		t.Errorf("metadata %v", m)
	}
	r, err := f.Section("a")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, a) {
		t.Errorf("section %v, %v", got, err)
	}
	if _, err := f.Read("c"); err == nil {
		t.Error("a tensor that is not there was read")
	}
	if err := f.ReadInto("a", make([]byte, 4)); err == nil {
		t.Error("a tensor was read into too small a slice")
	}
}

func TestBadFiles(t *testing.T) {
	tensor := `"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":             {nil, "0 bytes, expected at least the 8"},
		"short":             {[]byte("\x00\x00\x00"), "3 bytes, expected at least the 8"},
		"length":            {file("{}", "")[:9], "only 1 follow"},
		"huge length":       {[]byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "at most 100000000"},
		"no header":         {file("", ""), "does not begin with '{'"},
		"pickle":            {file("\x80\x02}q", ""), "not UTF-8"},
		"space":             {file(" {}", ""), "does not begin with '{'"},
		"array":             {file("[]", ""), "does not begin with '{'"},
		"cut":               {file(`{"a":{"dtype":`, ""), "ends in the middle"},
		"cut string":        {file(`{"a`, ""), "ends in the middle"},
		"syntax":            {file(`{"a" 1}`, ""), "not JSON"},
		"key":               {file(`{1:2}`, ""), "not JSON"},
		"trailing":          {file(`{}{}`, ""), "goes on after"},
		"duplicate":         {file(`{`+tensor+`,`+tensor+`}`, "xx"), `the key "a" twice`},
		"duplicate dtype":   {file(`{"a":{"dtype":"U8","dtype":"I8","shape":[2],"data_offsets":[0,2]}}`, "xx"), `"dtype" twice`},
		"duplicate meta":    {file(`{"__metadata__":{"a":"1","a":"2"}}`, ""), `"a" twice`},
		"meta twice":        {file(`{"__metadata__":{},"__metadata__":{}}`, ""), `"__metadata__" twice`},
		"meta number":       {file(`{"__metadata__":{"a":1}}`, ""), "expected a string"},
		"meta nested":       {file(`{"__metadata__":{"a":{"b":{}}}}`, ""), "expected a string"},
		"not an object":     {file(`{"a":3}`, ""), "expected an object"},
		"unknown key":       {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":[[[[]]]]}}`, "xx"), `the key "x"`},
		"unknown type":      {file(`{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}`, "xx"), `"F8_E4M3"; supported are [BF16 BOOL`},
		"type is a number":  {file(`{"a":{"dtype":1}}`, ""), "expected a string"},
		"incomplete":        {file(`{"a":{"dtype":"U8","shape":[2]}}`, "xx"), "lacks one of"},
		"shape string":      {file(`{"a":{"dtype":"U8","shape":"2","data_offsets":[0,2]}}`, "xx"), "array of integers"},
		"shape nested":      {file(`{"a":{"dtype":"U8","shape":[[2]],"data_offsets":[0,2]}}`, "xx"), "integers only"},
		"shape negative":    {file(`{"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}}`, "xx"), "holds -2"},
		"shape fraction":    {file(`{"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}}`, "xx"), "holds 2.0"},
		"shape overflows":   {file(`{"a":{"dtype":"F64","shape":[4294967296,4294967296,2],"data_offsets":[0,0]}}`, ""), "does not take"},
		"shape disagrees":   {file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}}`, "xx"), "does not take the 2 bytes"},
		"offsets backwards": {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}`, "xx"), "a begin and an end"},
		"three offsets":     {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1,2]}}`, "xx"), "a begin and an end"},
		"overlap":           {file(`{`+tensor+`,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, "xxx"), "must not overlap"},
		"same place":        {file(`{`+tensor+`,"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, "xx"), "must not overlap"},
		"gap":               {file(`{`+tensor+`,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}}`, "xxxxx"), "nor leave gaps"},
		"far away":          {file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[9223372036854775807,9223372036854775807]}}`, ""), "nor leave gaps"},
		"truncated data":    {file(`{`+tensor+`}`, "x"), "has 62 bytes"},
		"too much data":     {file(`{`+tensor+`}`, "xxx"), "has 64 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(c.file)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "t.safetensors") {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
	f, err := open(file(`{"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}`, "\x01\x02"))
	if err != nil {
		t.Fatal(err)
	}
	var bad *FormatError
	if _, err := f.Read("a"); !errors.As(err, &bad) || bad.Offset != 8+55+1 {
		t.Errorf("a BOOL of 2: %v", err)
	}
}

func TestRoundTrip(t *testing.T) {
	var tensors []Tensor
	for i, d := range dtype.All() {
		data := bytes.Repeat([]byte{byte(i), 1}, 3*d.Size())
		if d == dtype.Bool {
			data = []byte{0, 1, 1, 0, 0, 1}
		}
		tensors = append(tensors, Tensor{d.String() + ` "<é>"`, d, []int{2, 3}, data, nil})
	}
	tensors = append(tensors, Tensor{"", dtype.Int64, nil, make([]byte, 8), nil}, Tensor{"empty", dtype.Float16, []int{0, 1 << 40}, nil, nil})
	meta := map[string]string{"step": "12", "note": "a \"quoted\" <line>\n"}
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := Write(path, tensors, meta); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := f.Metadata(); !maps.Equal(got, meta) {
		t.Errorf("metadata %v", got)
	}
	if len(f.Names()) != len(tensors) {
		t.Errorf("names %v", f.Names())
	}
	for _, want := range tensors {
		info, ok := f.Info(want.Name)
		data, err := f.Read(want.Name)
		if !ok || err != nil || info.DType != want.DType || !slices.Equal(info.Shape, want.Shape) || !bytes.Equal(data, want.Data) {
			t.Errorf("%q: %+v, %v, %v", want.Name, info, data, err)
		}
		if size := int64(want.DType.Size()); info.offset%size != 0 {
			t.Errorf("%q lies at byte %d, not aligned to its elements of %d", want.Name, info.offset, size)
		}
	}
	if info := f.infos[0]; info.offset%alignment != 0 {
		t.Errorf("the data begin at byte %d, not a multiple of %d", info.offset, alignment)
	}
	slices.Reverse(tensors)
	if err := Write(path, tensors, meta); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(path); !bytes.Equal(first, again) {
		t.Error("the same tensors in another order gave another file")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestWriteEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.safetensors")
	if err := Write(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Names()) != 0 || f.Metadata() == nil {
		t.Errorf("names %v, metadata %v", f.Names(), f.Metadata())
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// What cannot be written leaves the file that was there, and nothing else.
func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "w.safetensors")
	if err := os.WriteFile(path, []byte("before"), 0o666); err != nil {
		t.Fatal(err)
	}
	good := Tensor{"a", dtype.Uint8, []int{2}, []byte("xx"), nil}
	for name, c := range map[string]struct {
		tensors []Tensor
		meta    map[string]string
	}{
		"duplicate": {[]Tensor{good, good}, nil},
		"reserved":  {[]Tensor{{metadataKey, dtype.Uint8, []int{2}, []byte("xx"), nil}}, nil},
		"not utf-8": {[]Tensor{{"\xff", dtype.Uint8, []int{2}, []byte("xx"), nil}}, nil},
		"length":    {[]Tensor{{"a", dtype.Int32, []int{2}, []byte("xx"), nil}}, nil},
		"negative":  {[]Tensor{{"a", dtype.Uint8, []int{-1, -2}, []byte("xx"), nil}}, nil},
		"no type":   {[]Tensor{{"a", dtype.Invalid, nil, nil, nil}}, nil},
		"bad type":  {[]Tensor{good, {"b", dtype.DType(200), nil, nil, nil}}, nil},
		"metadata":  {[]Tensor{good}, map[string]string{"k": "\xff"}},
	} {
		if err := Write(path, c.tensors, c.meta); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, expected one that names the file", name, err)
		}
	}
	if err := Write(filepath.Join(dir, "no", "w.safetensors"), []Tensor{good}, nil); err == nil {
		t.Error("wrote into a folder that does not exist")
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "folder"), []Tensor{good}, nil); err == nil {
		t.Error("wrote over a folder")
	}
	if b, _ := os.ReadFile(path); string(b) != "before" {
		t.Errorf("the file holds %q", b)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("files left behind: %v", left)
	}
}

// A file that another program wrote: names, shapes and type as its header says
// them, and a value that can be checked without that program.
func TestForeignFile(t *testing.T) {
	f, err := Open(testenv.SharedData(t, "safetensors", "mnist.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, shape := range map[string][]int{"conv1.weight": {8, 1, 3, 3}, "fc1.weight": {32, 11616}, "norm1.num_batches_tracked": {}} {
		info, ok := f.Info(name)
		if !ok || !slices.Equal(info.Shape, shape) {
			t.Errorf("%s: %+v, want %v", name, info, shape)
		}
		if _, err := f.Read(name); err != nil {
			t.Error(err)
		}
	}
	variance, err := f.Read("norm1.running_var")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(variance); i += 4 {
		if v := math.Float32frombits(binary.LittleEndian.Uint32(variance[i:])); !(v > 0 && v < 1e6) {
			t.Errorf("running variance %d is %g", i/4, v)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "absent")} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): %v", path, err)
		}
	}
}

// Headers that claim much, and those that are much, take memory in proportion to the
// file.
func TestHostileMemory(t *testing.T) {
	var many strings.Builder
	many.WriteByte('{')
	for i := range 20_000 {
		fmt.Fprintf(&many, `"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`, i)
	}
	for name, content := range map[string][]byte{
		"length":      []byte("\xff\xff\xff\xff\xff\xff\xff\x7f{"),
		"100 MB":      []byte("\x00\xe1\xf5\x05\x00\x00\x00\x00{}"),
		"shape":       file(`{"a":{"dtype":"F64","shape":[`+strings.Repeat("4294967295,", 1000)+`1],"data_offsets":[0,8]}}`, "12345678"),
		"offsets":     file(`{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}`, ""),
		"nesting":     file(strings.Repeat(`{"a":`, 100_000), ""),
		"lists":       file(`{"a":{"dtype":"U8","shape":`+strings.Repeat("[", 100_000), ""),
		"many":        file(many.String()+`"x":1}`, ""),
		"long string": file(`{"a":{"dtype":"`+strings.Repeat("x", 1<<20)+`"}}`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if got := testenv.Allocated(func() { _, err = open(content) }); got > uint64(64*len(content)+1<<20) {
				t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
			}
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(file(`{"__metadata__":{"a":"b"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, "xx"))
	f.Add(file(`{"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]},"b":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]}}`, "\x01"))
	f.Add(file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\x7f{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var file *File
		var err error
		if got := testenv.Allocated(func() { file, err = open(b) }); got > uint64(200*len(b)+1<<20) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(b))
		}
		if err != nil {
			return
		}
		var tensors []Tensor
		for _, name := range file.Names() {
			info, _ := file.Info(name)
			data, err := file.Read(name)
			if err != nil {
				return
			}
			tensors = append(tensors, Tensor{name, info.DType, info.Shape, data, nil})
		}
		// What was accepted can be written and read back.
		sorted, err := check(tensors, file.Metadata())
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := encode(&out, sorted, file.Metadata()); err != nil {
			t.Fatal(err)
		}
		again, err := open(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tensors {
			if data, err := again.Read(want.Name); err != nil || !bytes.Equal(data, want.Data) {
				t.Fatalf("%q: %v, %v, want %v", want.Name, data, err, want.Data)
			}
		}
	})
}

// Elements that are loaded when their turn comes give the same file, and too few of them none.
func TestLoad(t *testing.T) {
	whole := []Tensor{{Name: "a", DType: dtype.Uint8, Shape: []int{2}, Data: []byte("xy")}, {Name: "b", DType: dtype.Int32, Shape: []int{1}, Data: []byte("1234")}}
	lazy := slices.Clone(whole)
	var asked []string
	for i, t := range whole {
		lazy[i].Data = nil
		lazy[i].Load = func() []byte { asked = append(asked, t.Name); return t.Data }
	}
	var want, got bytes.Buffer
	if err := errors.Join(Encode(&want, whole, nil), Encode(&got, lazy, nil)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want.Bytes(), got.Bytes()) || !slices.Equal(asked, []string{"b", "a"}) {
		t.Errorf("the files are %q and %q; loaded: %v", want.Bytes(), got.Bytes(), asked)
	}
	lazy[0].Load = func() []byte { return []byte("x") }
	path := filepath.Join(t.TempDir(), "short")
	if err := Write(path, lazy, nil); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("elements that are too few: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was written with too few elements: %v", err)
	}
}
