package data_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/streamtest"
	"github.com/sinter-dl/sinter/internal/testenv"
)

func write(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, expected one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func floats(b []byte) (v []float32) {
	for ; len(b) > 0; b = b[4:] {
		v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return v
}

func integer(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }

// jsonFields are those of the tests: an array of numbers, a class and a text.
func jsonFields() []data.JSONField {
	return []data.JSONField{
		{Key: "x", Field: data.Field{DType: sinter.Float32, Shape: []int{2, 2}}},
		{Key: "meta.label", Classes: []string{"no", "yes", "3"}},
		{Key: "text", Field: data.Field{DType: sinter.Int64, Shape: []int{4}, Ragged: true}, Encode: func(s string) (ids []int64, err error) {
			for _, b := range []byte(s) {
				ids = append(ids, int64(b))
			}
			return ids, nil
		}},
	}
}

func TestJSONL(t *testing.T) {
	dir := t.TempDir()
	line := func(i int) string {
		return fmt.Sprintf(`{"text": "%s", "x": [[%d, -0.5], [1e2, %d]], "more": {"deep": [null]}, "meta": {"label": %s}}`,
			strings.Repeat("ä", i%4), i, -i, []string{`"no"`, `"yes"`, `3`}[i%3])
	}
	var paths []string
	n := 0
	for f := range 5 {
		var b bytes.Buffer
		for i := range 3 + f*2 {
			b.WriteString(line(n) + []string{"\n", "\r\n", "\n\n  \n"}[i%3])
			n++
		}
		content := b.Bytes()
		if f == 0 {
			content = append([]byte("\xef\xbb\xbf"), content...)
		}
		if f == 4 {
			content = bytes.TrimRight(content, "\r\n") // no end of the last line
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.jsonl", f))
		if f%2 == 1 {
			path, content = path+".gz", zipped(content)
		}
		paths = append(paths, write(t, path, content))
	}
	s, err := data.NewJSONL(paths, jsonFields()...)
	if err != nil {
		t.Fatal(err)
	}
	all := streamtest.Check(t, s)
	if len(all) != n {
		t.Fatalf("%d examples, want %d", len(all), n)
	}
	for i, e := range all {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		if got, want := floats(e.Fields[0]), []float32{float32(i), -0.5, 100, float32(-i)}; !slices.Equal(got, want) {
			t.Errorf("example %d: x is %v, want %v", i, got, want)
		}
		if got := integer(e.Fields[1]); got != int64(i%3) {
			t.Errorf("example %d: class %d", i, got)
		}
		if got, want := len(e.Fields[2]), 8*min(4, 2*(i%4)); got != want { // ä has two bytes
			t.Errorf("example %d: %d bytes of tokens, want %d", i, got, want)
		}
	}
}

func TestJSONLErrors(t *testing.T) {
	good := `{"text": "a", "x": [[1, 2], [3, 4]], "meta": {"label": "no"}}`
	for name, c := range map[string]struct{ line, want string }{
		"cut":             {good[:30], "not a JSON object"},
		"array":           {"[1]", "not a JSON object"},
		"number":          {"7", "not a JSON object"},
		"two":             {good + good, "not a JSON object"},
		"not utf-8 key":   {"{\"\xff\": 1}", `no key "x"`},
		"missing":         {`{"text": "a", "X": 1}`, `no key "x"`},
		"shape":           {strings.Replace(good, "[3, 4]", "[3]", 1), "expected an array of 2"},
		"rank":            {strings.Replace(good, "[3, 4]", "3", 1), "expected an array of 2"},
		"null":            {strings.Replace(good, "3", "null", 1), "found null, expected a number"},
		"text for number": {strings.Replace(good, "3", `"3"`, 1), "expected a number"},
		"infinite":        {strings.Replace(good, "3", `1e39`, 1), "too large"},
		"class":           {strings.Replace(good, "no", "maybe", 1), `"maybe", expected one of the classes no, yes, 3`},
		"no object":       {strings.Replace(good, `{"label": "no"}`, "1", 1), "expected an object with the key"},
		"text":            {strings.Replace(good, `"a"`, "1", 1), "expected a text"},
		"nesting":         {`{"x": ` + strings.Repeat("[", 1<<20), "not a JSON object"},
		"closed nesting":  {`{"x": ` + strings.Repeat("[", 1<<16) + strings.Repeat("]", 1<<16) + "}", "JSON"},
		"objects":         {strings.Repeat(`{"x":`, 1<<16), "not a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "bad.jsonl"), []byte(good+"\n"+c.line+"\n"+good+"\n"))
			s, err := data.NewJSONL([]string{path}, jsonFields()...)
			if err != nil {
				t.Fatal(err)
			}
			var all []streamtest.Example
			if got := testenv.Allocated(func() { all = streamtest.Read(t, s, data.Pass{Shards: 1}, data.Mark{}) }); got > uint64(16*len(c.line)+1<<20) {
				t.Errorf("%d bytes were allocated for a line of %d", got, len(c.line))
			}
			if len(all) != 3 || all[0].Err != nil || all[2].Err != nil {
				t.Fatalf("the lines around are lost: %v", all)
			}
			wantError(t, all[1].Err, path+", line 2", c.want)
		})
	}
	dir := t.TempDir()
	whole := zipped([]byte(strings.Repeat(good+"\n", 1000)))
	cut := write(t, filepath.Join(dir, "cut.jsonl.gz"), whole[:len(whole)-20])
	s, err := data.NewJSONL([]string{cut}, jsonFields()...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = streamtest.TryRead(s, data.Pass{Shards: 1}, data.Mark{})
	wantError(t, err, cut, "of the unpacked content", "cut off")
	_, err = streamtest.TryRead(s, data.Pass{Shards: 1}, data.Mark{Offset: 1 << 20})
	wantError(t, err, cut)
	_, err = streamtest.TryRead(s, data.Pass{Shards: 1}, data.Mark{File: 2})
	wantError(t, err, "not those any more")
	s, _ = data.NewJSONL([]string{filepath.Join(dir, "none")}, jsonFields()...)
	_, err = streamtest.TryRead(s, data.Pass{Shards: 1}, data.Mark{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A gigabyte of zeros that gzip packs into a megabyte is one line that is too long, and
// takes no more memory than such a line may.
func TestGzipBomb(t *testing.T) {
	size := 80 << 20
	if os.Getenv("SINTER_STRESS") != "" {
		size = 1 << 30
	}
	path := filepath.Join(t.TempDir(), "bomb.jsonl.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := gzip.NewWriterLevel(f, gzip.BestSpeed)
	zeros := make([]byte, 1<<20)
	for range size >> 20 {
		w.Write(zeros)
	}
	w.Write([]byte("\n{}\n"))
	w.Close()
	f.Close()
	s, err := data.NewLines([]string{path}, []data.Field{{Name: "x", DType: sinter.Uint8}}, func(line []byte, dst [][]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var all []streamtest.Example
	if peak := testenv.PeakHeap(t, func() { all = streamtest.Read(t, s, data.Pass{Shards: 1}, data.Mark{}) }); peak > 256<<20 {
		t.Errorf("the heap grew by %d MiB", peak>>20)
	}
	if len(all) != 2 || all[1].Err != nil {
		t.Fatalf("%d examples", len(all))
	}
	wantError(t, all[0].Err, path+", line 1", "longer than")
}

// count goes through a stream as a loader does, with one record and one example.
func count(t testing.TB, s data.Stream) (n int) {
	r, err := s.Open(data.Pass{Shards: 1}, data.Mark{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	room := make([][]byte, len(s.Fields()))
	for i, f := range s.Fields() {
		room[i] = make([]byte, f.Bytes())
	}
	var rec data.Record
	for {
		err := r.Next(&rec)
		if errors.Is(err, io.EOF) {
			return n
		}
		if err == nil {
			err = s.Decode(&rec, slices.Clone(room))
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
}

// What is streamed takes the same memory whatever the length of the file.
func TestStreamedAtConstantMemory(t *testing.T) {
	size := 20 << 20
	if os.Getenv("SINTER_STRESS") != "" {
		size = 200 << 20
	}
	path := filepath.Join(t.TempDir(), "large.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(`{"text": "` + strings.Repeat("abcdefgh", 100) + `", "x": [[1, 2], [3, 4]], "meta": {"label": "no"}}` + "\n")
	block := bytes.Repeat(line, 1024)
	n := 0
	for ; n*len(line) < size; n += 1024 {
		f.Write(block)
	}
	f.Close()
	s, err := data.NewJSONL([]string{path}, jsonFields()[:2]...)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	peak := testenv.PeakHeap(t, func() { got = count(t, s) })
	if got != n {
		t.Errorf("%d examples, want %d", got, n)
	}
	if peak > 8<<20 {
		t.Errorf("the heap grew by %d KiB for a file of %d KiB", peak>>10, size>>10)
	}
}

type tarFile struct {
	name    string
	content []byte
	link    string
}

func tarOf(t testing.TB, files ...tarFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write(f.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, w, h int, c color.Color) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.Set(i%w, i/w, c)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func webShards(t testing.TB, dir string) (n int) {
	for shard := range 4 {
		files := []tarFile{{name: "__meta__.json", content: []byte("{}")}, {name: "dir/"}}
		for range 3 + 2*shard {
			// The order of files and long names (which take headers of their own) vary.
			name := fmt.Sprintf("%s%06d", strings.Repeat("deep/", n%3*30), n)
			group := []tarFile{
				{name: name + ".cls", content: []byte(fmt.Sprint(n%3) + "\n")},
				{name: name + ".png", content: pngOf(t, 3+n%2, 2, color.RGBA{uint8(n), 100, 200, 255})},
				{name: name + ".meta.json", content: []byte(`{"a": 1}`)},
			}
			if n%2 == 1 {
				slices.Reverse(group)
			}
			files = append(files, group...)
			n++
		}
		content := tarOf(t, files...)
		name := fmt.Sprintf("train-%03d.tar", shard)
		if shard == 2 {
			name, content = "train-002.tgz", zipped(content)
		}
		write(t, filepath.Join(dir, name), content)
	}
	return n
}

func TestWebDataset(t *testing.T) {
	dir := t.TempDir()
	n := webShards(t, dir)
	shards, err := data.Shards(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := data.NewWebDataset(shards, data.ImageMember(data.ImageOptions{Height: 2, Width: 3, Channels: 3}), data.ClassMember([]string{"0", "1", "2"}))
	if err != nil {
		t.Fatal(err)
	}
	all := streamtest.Check(t, s)
	if len(all) != n {
		t.Fatalf("%d examples, want %d", len(all), n)
	}
	for i, e := range all {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		if x := floats(e.Fields[0]); x[0] != float32(i)/255 || x[17] != float32(200)/255 {
			t.Errorf("example %d: pixels %v", i, x)
		}
		if y := integer(e.Fields[1]); y != int64(i%3) {
			t.Errorf("example %d: class %d", i, y)
		}
	}
	// In memory and streamed there are the same examples, and the same are held out.
	opt := data.ImageOptions{Height: 2, Width: 3, Channels: 3}
	held, err := data.OpenWebDataset(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	if held.Train == nil || held.Train.Len() != n || !slices.Equal(held.Classes, []string{"0", "1", "2"}) {
		t.Fatalf("%+v", held)
	}
	opt.Memory = 1
	streamed, err := data.OpenWebDataset(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	if streamed.Train != nil || streamed.Stream == nil || streamed.Digest != held.Digest {
		t.Fatalf("%+v", streamed)
	}
	if err := streamed.HoldOut(0.3, 5); err != nil {
		t.Fatal(err)
	}
	rest := streamtest.Check(t, streamed.Stream)
	if k := streamed.Test.Len(); k == 0 || k > n/2 || len(rest)+k != n {
		t.Errorf("%d of %d are held out, %d left", k, n, len(rest))
	}
	if kind, err := data.Detect(dir); kind != data.KindWebDataset || err != nil {
		t.Errorf("detected %q, %v", kind, err)
	}
}

// The reader of the format's own project made testdata/webdataset.json of the archives
// there (scripts/formats/archives.py).
func TestWebDatasetKeys(t *testing.T) {
	text, err := os.ReadFile("testdata/webdataset.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Samples []struct{ Key, Txt string } }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	encode := func(s string) (ids []int64, err error) {
		for _, b := range []byte(s) {
			ids = append(ids, int64(b))
		}
		return ids, nil
	}
	shards, err := data.Shards("testdata/webdataset-{000..001}.tar")
	if err != nil {
		t.Fatal(err)
	}
	s, err := data.NewWebDataset(shards, data.TextMember(encode, 64))
	if err != nil {
		t.Fatal(err)
	}
	all := streamtest.Check(t, s)
	if len(all) != len(want.Samples) || len(all) == 0 {
		t.Fatalf("%d examples, webdataset has %d", len(all), len(want.Samples))
	}
	for i, e := range all {
		var got []byte
		for b := e.Fields[0]; len(b) > 0; b = b[8:] {
			got = append(got, b[0])
		}
		if string(got) != want.Samples[i].Txt {
			t.Errorf("example %d is %q, webdataset says %q", i, got, want.Samples[i].Txt)
		}
	}
}

func TestTenData(t *testing.T) {
	path := testenv.SharedData(t, "webdataset", "tendata.tar")
	s, err := data.NewWebDataset([]string{path}, data.Member{
		Exts: []string{"ten"}, Field: data.Field{Name: "x", DType: sinter.Uint8, Shape: []int{8}},
		Decode: func(name string, content, dst []byte) (int, error) { return copy(dst, content), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	all := streamtest.Check(t, s)
	if len(all) == 0 || string(all[0].Fields[0]) != "~TenBin~" {
		t.Errorf("%d examples", len(all))
	}
}

func hostileTars(t testing.TB) map[string]struct {
	content []byte
	want    string
} {
	pic, one := pngOf(t, 2, 2, color.White), []byte("1")
	good := tarOf(t, tarFile{name: "1.png", content: pic}, tarFile{name: "1.cls", content: one})
	claims := bytes.Clone(good)
	copy(claims[124:], "77777777777\x00") // 8 GiB
	sum := 0
	copy(claims[148:156], "        ")
	for _, b := range claims[:512] {
		sum += int(b)
	}
	copy(claims[148:], fmt.Sprintf("%06o\x00 ", sum))
	sparse := bytes.Clone(good)
	sparse[156] = 'S'
	return map[string]struct {
		content []byte
		want    string
	}{
		"cut":         {good[:530], "unexpected EOF"},
		"not tar":     {bytes.Repeat([]byte("no tar "), 200), "not a whole tar archive"},
		"huge member": {claims, "unexpected EOF"},
		"sparse":      {sparse, "tar"},
		"link":        {tarOf(t, tarFile{name: "1.png", link: "/etc/passwd"}, tarFile{name: "1.cls", content: one}), "it is a link"},
		"missing":     {tarOf(t, tarFile{name: "1.png", content: pic}), "there is no .cls or .txt file; it has .png"},
		"twice":       {tarOf(t, tarFile{name: "1.png", content: pic}, tarFile{name: "1.png", content: pic}), "two files .png"},
		"class":       {tarOf(t, tarFile{name: "1.png", content: pic}, tarFile{name: "1.cls", content: []byte("9")}), `the class "9" is none of 0, 1`},
		"picture":     {tarOf(t, tarFile{name: "1.png", content: pic[:30]}, tarFile{name: "1.cls", content: one}), "cannot be decoded"},
	}
}

func TestHostileTar(t *testing.T) {
	members := []data.Member{data.ImageMember(data.ImageOptions{Height: 2, Width: 2, Channels: 1}), data.ClassMember([]string{"0", "1"})}
	for name, c := range hostileTars(t) {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "bad.tar"), c.content)
			s, err := data.NewWebDataset([]string{path}, members...)
			if err != nil {
				t.Fatal(err)
			}
			var all []streamtest.Example
			if got := testenv.Allocated(func() { all, err = streamtest.TryRead(s, data.Pass{Shards: 1}, data.Mark{}) }); got > 4<<20 {
				t.Errorf("%d bytes were allocated for a file of %d", got, len(c.content))
			}
			if err == nil && len(all) > 0 {
				err = all[0].Err
			}
			wantError(t, err, path, c.want)
		})
	}
	// Names that would lead out of a folder are only names.
	dir := t.TempDir()
	pic := pngOf(t, 2, 2, color.White)
	path := write(t, filepath.Join(dir, "in", "x.tar"), tarOf(t,
		tarFile{name: "../../evil.png", content: pic}, tarFile{name: "../../evil.cls", content: []byte("1")},
		tarFile{name: "/abs.png", content: pic}, tarFile{name: "/abs.cls", content: []byte("0")}))
	s, _ := data.NewWebDataset([]string{path}, members...)
	if all := streamtest.Check(t, s); len(all) != 2 || all[0].Err != nil || all[1].Err != nil {
		t.Errorf("%v", all)
	}
	var files []string
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		files = append(files, p)
		return err
	})
	if len(files) != 3 {
		t.Errorf("there are files now that were not there: %v", files)
	}
}

func TestShards(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a-08.tar", "a-09.tar", "a-10.tar", "b.tar", "c.txt"} {
		write(t, filepath.Join(dir, name), nil)
	}
	for pattern, want := range map[string]string{
		"a-{08..10}.tar": "a-08.tar a-09.tar a-10.tar",
		"{b,a-10}.tar":   "b.tar a-10.tar",
		"a-*.tar":        "a-08.tar a-09.tar a-10.tar",
		"b.tar":          "b.tar",
		"":               "a-08.tar a-09.tar a-10.tar b.tar",
	} {
		got, err := data.Shards(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			got[i] = filepath.Base(got[i])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v, want %s", pattern, got, want)
		}
	}
	for pattern, want := range map[string]string{
		"a-{07..08}.tar": "a-07.tar", "a-{9..1}": "not smaller", "a-{x..2}": "range", "{0..99999999}": "more than",
		"{0..999}{0..999}": "more than", "none-*.tar": "no file matches", "a-{08": "a-{08",
	} {
		_, err := data.Shards(filepath.Join(dir, pattern))
		wantError(t, err, want)
	}
}

func FuzzWebDataset(f *testing.F) {
	for _, c := range hostileTars(f) {
		f.Add(c.content)
	}
	for _, name := range []string{"testdata/webdataset-000.tar", "testdata/webdataset-001.tar"} {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b)
			f.Add(zipped(b))
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := write(t, filepath.Join(dir, "fuzzed.tar"), content)
		s, err := data.NewWebDataset([]string{path}, data.ClassMember([]string{"0", "1"}))
		if err != nil {
			t.Fatal(err)
		}
		got := testenv.Allocated(func() { streamtest.TryRead(s, data.Pass{Shards: 1}, data.Mark{}) })
		// A header of 512 bytes may become an example with an error of some hundred.
		if got > uint64(200*len(content)+16<<20) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
		}
	})
}

func FuzzJSONL(f *testing.F) {
	f.Add([]byte(`{"text": "a", "x": [[1, 2], [3, 4]], "meta": {"label": "no"}}` + "\n"))
	f.Add([]byte(`{"x": ` + strings.Repeat("[", 1000)))
	f.Add([]byte("{\"a\": {\"b\": [1, null, true]}}\r\n\n{}"))
	f.Add(zipped([]byte("{}\n{}")))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := write(t, filepath.Join(dir, "fuzzed.jsonl"), content)
		s, err := data.NewJSONL([]string{path}, jsonFields()...)
		if err != nil {
			t.Fatal(err)
		}
		got := testenv.Allocated(func() {
			streamtest.TryRead(s, data.Pass{Shards: 1}, data.Mark{})
			data.ReadTable(path, data.TableOptions{})
		})
		if got > uint64(2000*len(content)+8<<20) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
		}
	})
}
