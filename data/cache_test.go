package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A cached dataset gives what the dataset gives, errors too, and asks it only once.
func TestCache(t *testing.T) {
	for _, ragged := range []bool{false, true} {
		for _, disk := range []bool{false, true} {
			name := fmt.Sprintf("ragged %v, on disk %v", ragged, disk)
			reads := new(atomic.Int64)
			s := series{n: 3000, bad: map[int]bool{4: true, 7: true, 2999: true}, ragged: ragged, reads: reads}
			plain := Loader{Dataset: s, Batch: 16, Shuffle: true, SkipBad: true, Workers: 4, Collate: Pad{Bucket: 3}}
			if !ragged {
				plain.Collate = nil
			}
			dir := t.TempDir()
			open := func() Dataset {
				ds, err := CacheMemory(s, 3000*15)
				if disk {
					ds, err = CacheDisk(t.Context(), s, DiskCache{Dir: dir, Key: "k", Workers: 3, Warn: func(m string) { t.Error(m) }})
				}
				if err != nil {
					t.Fatal(err)
				}
				return ds
			}
			through := plain
			through.Dataset = open()
			for range 2 {
				want, got := deal(t, &plain), deal(t, &through)
				if fmt.Sprint(want) != fmt.Sprint(got) || len(got.batches) < 180 {
					t.Fatalf("%s: other batches", name)
				}
			}
			before := reads.Load()
			deal(t, &through)
			if n := reads.Load() - before; n != 3 { // the bad ones
				t.Errorf("%s: %d examples are read again", name, n)
			}
			if disk {
				again := plain
				again.Dataset = open()
				before := reads.Load()
				want := deal(t, &Loader{Dataset: s, Batch: 16, Shuffle: true, SkipBad: true, Collate: plain.Collate})
				n := reads.Load() - before
				again.next = LoaderState{}
				if got := deal(t, &Loader{Dataset: again.Dataset, Batch: 16, Shuffle: true, SkipBad: true, Collate: plain.Collate}); fmt.Sprint(got) != fmt.Sprint(want) || reads.Load()-before-n != 3 {
					t.Errorf("%s: opened again it gives other batches, or reads them anew", name)
				}
			}
		}
	}
}

func TestCacheRefuses(t *testing.T) {
	pixels, _ := ByteImages(make([]byte, 40), []int{1, 2, 2}, make([]int64, 10))
	part, _ := Subset(pixels, []int{1, 2})
	fresh := randomBlocks{text: newTextBlocks(make([]int64, 100), 4), n: 5}
	freshPart, _ := Subset(fresh, []int{1})
	for want, ds := range map[string]Dataset{
		"take 0 MiB":           series{n: 101},
		"in memory already":    part,
		"below their augment":  fresh,
		"anew for every epoch": freshPart,
	} {
		_, err := CacheMemory(ds, 1500)
		_, diskErr := CacheDisk(t.Context(), ds, DiskCache{Dir: t.TempDir(), Key: "k", Limit: 1500})
		for _, err := range []error{err, diskErr} {
			if !errors.Is(err, ErrNoCache) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	}
	if _, err := CacheDisk(t.Context(), series{n: 3}, DiskCache{Dir: t.TempDir()}); !errors.Is(err, ErrNoCache) {
		t.Errorf("without a key: %v", err)
	}
	subset, _ := Subset(series{n: 30}, []int{1, 2, 3})
	if _, err := CacheMemory(subset, 45); err != nil {
		t.Errorf("a part of what can be cached: %v", err)
	}
}

// A damaged file is never believed: it is made anew, or read past.
func TestCacheDamage(t *testing.T) {
	s := series{n: 12}
	dir := t.TempDir()
	var said []string
	open := func() Dataset {
		ds, err := CacheDisk(t.Context(), s, DiskCache{Dir: dir, Key: "k", Warn: func(m string) { said = append(said, m) }})
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	right := func(ds Dataset) {
		t.Helper()
		a, b := [][]byte{make([]byte, 8), make([]byte, 7)}, [][]byte{make([]byte, 8), make([]byte, 7)}
		for i := range s.n {
			if err := errors.Join(s.Read(i, a), ds.Read(i, b)); err != nil || !bytes.Equal(a[0], b[0]) || !bytes.Equal(a[1], b[1]) {
				t.Fatalf("example %d: %v, %v, %v", i, a, b, err)
			}
		}
	}
	right(open())
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole { // every byte, altered before and after the file is opened
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x41
		said = nil
		if err := os.WriteFile(files[0], damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		right(open())
		if len(said) != 1 {
			t.Fatalf("byte %d was altered, and was said: %q", at, said)
		}
		right(open())
		if len(said) != 1 {
			t.Fatalf("byte %d was altered, and the file was not made anew: %q", at, said)
		}
	}
	for _, n := range []int{0, 1, 31, 40, 100, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(files[0], whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		right(open())
	}
	// Cancelled, it leaves nothing.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other := t.TempDir()
	if _, err := CacheDisk(ctx, s, DiskCache{Dir: other, Key: "k"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(other); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	// Other examples have another file.
	if _, err := CacheDisk(t.Context(), series{n: 51}, DiskCache{Dir: dir, Key: "k"}); err != nil {
		t.Error(err)
	}
	if files, _ = filepath.Glob(filepath.Join(dir, "*")); len(files) != 2 {
		t.Errorf("files %v", files)
	}
}

// Several that read the same example at once get it whole.
func TestCacheMemoryTogether(t *testing.T) {
	s := series{n: 64, ragged: true}
	ds, err := CacheMemory(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 64 {
				a, b := [][]byte{make([]byte, 8), make([]byte, 7)}, [][]byte{make([]byte, 8), make([]byte, 7)}
				if err := errors.Join(s.Read(i, a), ds.Read(i, b)); err != nil || !bytes.Equal(a[0], b[0]) || !bytes.Equal(a[1], b[1]) {
					t.Errorf("example %d: %v, %v, %v", i, a, b, err)
				}
			}
		})
	}
	wg.Wait()
}
