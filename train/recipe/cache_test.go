package recipe

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// slow is a dataset that counts how often it is asked.
type slow struct{ reads *int }

func (s slow) Len() int             { return 5 }
func (s slow) Fields() []data.Field { return []data.Field{{Name: "x", DType: sinter.Uint8}} }
func (s slow) Read(i int, dst [][]byte) error {
	*s.reads++
	dst[0][0] = byte(10 * i)
	return nil
}

func TestCache(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	for _, kind := range []string{"", "none", "memory", "disk", "disk"} {
		r := &Recipe{Data: Data{Cache: kind, Path: "here", Workers: 1}}
		reads := 0
		src := &data.Source{Train: slow{&reads}, Digest: "abc"}
		if err := r.cache(src); err != nil {
			t.Fatal(err)
		}
		made := reads
		b := []byte{0}
		for range 2 {
			for i := range 5 {
				if err := src.Train.Read(i, [][]byte{b}); err != nil || b[0] != byte(10*i) {
					t.Fatalf("%q: example %d is %d, %v", kind, i, b[0], err)
				}
			}
		}
		switch {
		case kind == "memory" && reads != 5, strings.Trim(kind, "none") == "" && reads != 10, kind == "disk" && reads != made:
			t.Errorf("%q: read %d times", kind, reads)
		case kind == "disk" && (len(src.Notes) != 1 || !strings.Contains(src.Notes[0], filepath.Join("sinter", "examples"))):
			t.Errorf("notes %q", src.Notes)
		}
	}
	// What cannot be cached, or is not worth it, is said and left as it was.
	for want, src := range map[string]*data.Source{
		"nothing is known that tells": {Train: slow{new(int)}},
		"in memory already":           {Train: inMemory(t), Digest: "abc"},
		"streamed examples":           {Digest: "abc"},
	} {
		before := src.Train
		r := &Recipe{Data: Data{Cache: "disk"}}
		if err := r.cache(src); err != nil || len(src.Notes) != 1 || !strings.Contains(src.Notes[0], want) || (src.Train == nil) != (before == nil) {
			t.Errorf("notes %q, %v, want %q", src.Notes, err, want)
		}
	}
	// Another seed or size makes other examples of the same files; another place does not.
	r := &Recipe{Data: Data{Path: "here"}}
	src := &data.Source{Digest: "abc"}
	key := r.cacheKey(src, "training")
	r.Data.Path, r.Data.Workers = "there", 3
	if r.cacheKey(src, "training") != key || r.cacheKey(src, "testing") == key {
		t.Error("the key depends on the place of the files, or not on the part")
	}
	if r.Data.Size = 32; r.cacheKey(src, "training") == key {
		t.Error("the key does not depend on the images' size")
	}
}

func inMemory(t *testing.T) data.Dataset {
	ds, err := data.Arrays(data.Floats("x", []float32{1, 2}))
	if err != nil {
		t.Fatal(err)
	}
	return ds
}
