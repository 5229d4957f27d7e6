package npy

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/testenv"
)

type expectation struct {
	DType string
	Shape []int
	Data  []byte
}

func expected(t testing.TB) map[string]expectation {
	t.Helper()
	text, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Arrays map[string]expectation }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all.Arrays
}

// What NumPy wrote is read as NumPy reads it (scripts/formats/arrays.py), whole and
// row by row.
func TestNumPy(t *testing.T) {
	for name, want := range expected(t) {
		t.Run(name, func(t *testing.T) {
			var a *Array
			var f *File
			file, member, archived := strings.Cut(name, ":")
			if archived {
				z, err := OpenArchive("testdata/" + file)
				if err != nil {
					t.Fatal(err)
				}
				defer z.Close()
				if names := z.Names(); !slices.Equal(names, []string{"x", "y", "flag"}) {
					t.Errorf("names %v", names)
				}
				if a, err = z.Read(member); err != nil {
					t.Fatal(err)
				}
				ok := false
				if f, ok, err = z.Open(member); err != nil || ok != (file == "stored.npz") {
					t.Fatalf("open without compression: %v, %v", ok, err)
				}
			} else {
				var err error
				if f, err = Open("testdata/" + file); err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if a, err = f.Read(); err != nil {
					t.Fatal(err)
				}
			}
			if a.DType.String() != want.DType || !slices.Equal(a.Shape, want.Shape) || !bytes.Equal(a.Data, want.Data) {
				t.Fatalf("%s %v %x, want %s %v %x", a.DType, a.Shape, a.Data, want.DType, want.Shape, want.Data)
			}
			if f == nil || f.Fortran() || len(a.Shape) == 0 || a.Shape[0] == 0 {
				return
			}
			row := len(want.Data) / a.Shape[0]
			dst := make([]byte, row)
			for i := range a.Shape[0] {
				if err := f.ReadRows(i, 1, dst); err != nil || !bytes.Equal(dst, want.Data[i*row:(i+1)*row]) {
					t.Fatalf("row %d is %x, %v", i, dst, err)
				}
			}
			if err := f.ReadRows(1, a.Shape[0], dst); err == nil {
				t.Error("rows behind the end were read")
			}
		})
	}
}

// What is written has the bytes that NumPy writes.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	for name, want := range expected(t) {
		if strings.Contains(name, "big") || strings.Contains(name, "fortran") || strings.Contains(name, "version") || strings.Contains(name, ":") ||
			slices.Contains([]string{"i2.npy", "u2.npy", "u4.npy", "u8.npy"}, name) {
			continue // in another form than is written
		}
		dt, err := dtype.Parse(want.DType)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := Write(path, &Array{dt, want.Shape, want.Data}); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		numpy, _ := os.ReadFile("testdata/" + name)
		// NumPy calls raw elements |V2, as they have no byte order.
		if !bytes.Equal(got, bytes.Replace(numpy, []byte("|V2"), []byte("<V2"), 1)) {
			t.Errorf("%s: wrote %q, NumPy %q", name, got, numpy)
		}
	}
	for _, compress := range []bool{false, true} {
		path := filepath.Join(dir, "all.npz")
		in := []Named{{"a", &Array{dtype.Int8, []int{3}, []byte{1, 2, 255}}}, {"b/c", &Array{dtype.Bool, []int{}, []byte{1}}}}
		if err := WriteArchive(path, in, compress); err != nil {
			t.Fatal(err)
		}
		z, err := OpenArchive(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range in {
			got, err := z.Read(want.Name)
			if err != nil || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%s: %v, %v", want.Name, got, err)
			}
		}
		z.Close()
	}
	path := filepath.Join(dir, "bad.npy")
	if err := Write(path, &Array{dtype.Float32, []int{3}, make([]byte, 11)}); err == nil {
		t.Error("11 bytes were written as 3 float32")
	}
	left, _ := filepath.Glob(filepath.Join(dir, "bad*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// npyFile is a version 1 file with the given header and elements.
func npyFile(head string, data []byte) []byte {
	b := append([]byte(magic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(head)))
	return append(append(b, head...), data...)
}

func dict(descr, shape string) string {
	return fmt.Sprintf("{'descr': %s, 'fortran_order': False, 'shape': %s, }\n", descr, shape)
}

var hostile = map[string]struct {
	content []byte
	want    string
}{
	"empty":            {nil, "begins with"},
	"not npy":          {[]byte("PK\x03\x04 something else"), "not NumPy's"},
	"only magic":       {[]byte("\x93NUMPY\x01\x00"), "begins with"},
	"version":          {[]byte("\x93NUMPY\x09\x00\x00\x00\x00\x00"), "version 9"},
	"header beyond":    {[]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff{"), "4294967295 bytes"},
	"wild shape":       {npyFile(dict("'<f4'", "(1000000000, 1000000000)"), make([]byte, 64)), "too large"},
	"wild product":     {npyFile(dict("'<f4'", "(4294967296, 4294967296)"), make([]byte, 64)), "too large"},
	"large shape":      {npyFile(dict("'<f4'", "(1000000, 1000)"), make([]byte, 64)), "64 bytes follow"},
	"axis too long":    {npyFile(dict("'<f4'", "(99999999999999999999,)"), nil), "length of an axis"},
	"negative":         {npyFile(dict("'<f4'", "(-1,)"), nil), "length of an axis"},
	"many axes":        {npyFile(dict("'<f4'", "("+strings.Repeat("1,", 65)+")"), make([]byte, 4)), "more than 64 axes"},
	"nested":           {npyFile(dict("'<f4'", strings.Repeat("(", 60000)), nil), "length of an axis"},
	"element size":     {npyFile(dict("'<f16'", "(1,)"), make([]byte, 16)), "type f16"},
	"size of elements": {npyFile(dict("'<V999999999999'", "(1,)"), make([]byte, 16)), "no number"},
	"unterminated":     {npyFile("{'descr': '<f4", nil), "closing quote"},
	"twice":            {npyFile("{'descr': '<f4', 'descr': '<f4'}", nil), "twice"},
	"missing":          {npyFile("{'descr': '<f4'}", nil), "expected the keys"},
	"short":            {npyFile(dict("'<f4'", "(4,)"), make([]byte, 15)), "15 bytes follow"},
	"long":             {npyFile(dict("'<f4'", "(4,)"), make([]byte, 17)), "17 bytes follow"},
	"bool":             {npyFile(dict("'|b1'", "(2,)"), []byte{1, 7}), "element 07"},
}

func TestHostile(t *testing.T) {
	read := func(content []byte) error {
		f, err := New(bytes.NewReader(content), int64(len(content)), "bad.npy")
		if err == nil {
			_, err = f.Read()
		}
		return err
	}
	check := func(t *testing.T, content []byte, want string, err error, got uint64) {
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bad.np") {
			t.Errorf("error %v, expected one with %q", err, want)
		}
		if got > uint64(4*len(content)+1<<18) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
		}
	}
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			var err error
			got := testenv.Allocated(func() { err = read(c.content) })
			check(t, c.content, c.want, err, got)
		})
	}
	for name, want := range map[string]string{"object.npy": "Python objects", "structured.npy": "named fields", "complex.npy": "type c8", "overflow.npy": "0000000000000080"} {
		f, err := Open("testdata/" + name)
		if err == nil {
			_, err = f.Read()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, expected one with %q", name, err, want)
		}
	}
	// 64 MiB of zeros in 64 KiB, with a true header and with a false one.
	for name, head := range map[string]string{"true header": dict("'|u1'", "(67108864,)"), "false header": dict("'|u1'", "(1000,)")} {
		t.Run("bomb with "+name, func(t *testing.T) {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			w, _ := z.Create("x.npy")
			w.Write(npyFile(head, nil))
			zeros := make([]byte, 1<<20)
			for range 64 {
				w.Write(zeros)
			}
			z.Close()
			a, err := newArchive(bytes.NewReader(b.Bytes()), int64(b.Len()), "bad.npz")
			if err != nil {
				t.Fatal(err)
			}
			got := testenv.Allocated(func() { _, err = a.Read("x") })
			if got > 1<<20 {
				t.Errorf("%d bytes were allocated", got)
			}
			if err == nil || !strings.Contains(err.Error(), "at most 16777216") {
				t.Errorf("error %v", err)
			}
		})
	}
	// The directory claims a size that the archive does not have.
	content, _ := os.ReadFile("testdata/stored.npz")
	at := bytes.Index(content, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(content[at+20:], 0xfffffff0)
	_, err := newArchive(bytes.NewReader(content), int64(len(content)), "bad.npz")
	check(t, content, "4294967280 bytes", err, 0)
}

func FuzzNPY(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.npy")
	for _, name := range files {
		if content, err := os.ReadFile(name); err == nil {
			f.Add(content)
		}
	}
	for _, c := range hostile {
		f.Add(c.content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		got := testenv.Allocated(func() {
			file, err := New(bytes.NewReader(content), int64(len(content)), "fuzzed")
			if err != nil {
				return
			}
			a, err := file.Read()
			if err != nil {
				return
			}
			var again bytes.Buffer
			if err := a.Encode(&again); err != nil {
				t.Fatal(err)
			}
			b, err := Read(&again, int64(again.Len()), "again")
			if err != nil || b.DType != a.DType || !slices.Equal(a.Shape, b.Shape) || !bytes.Equal(a.Data, b.Data) {
				t.Fatalf("%v %v became %v, %v", a.DType, a.Shape, b, err)
			}
		})
		if got > uint64(64*len(content)+1<<20) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
		}
	})
}

func FuzzNPZ(f *testing.F) {
	for _, name := range []string{"stored.npz", "deflated.npz"} {
		if content, err := os.ReadFile("testdata/" + name); err == nil {
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		got := testenv.Allocated(func() {
			a, err := newArchive(bytes.NewReader(content), int64(len(content)), "fuzzed")
			if err != nil {
				return
			}
			for _, name := range a.Names() {
				a.Read(name)
				if file, ok, err := a.Open(name); ok && err == nil {
					file.Read()
				}
			}
		})
		// A reader of deflate takes 40 kB for each member.
		if got > uint64(8*maxRatio*len(content)+1<<24) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
		}
	})
}
