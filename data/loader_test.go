package data

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
)

// counting is a dataset whose example i is the number i, and which fails at one.
type counting struct {
	n, bad int
	read   func(i int)
}

func (c counting) Len() int { return c.n }
func (c counting) Fields() []Field {
	return []Field{{Name: "x", DType: sinter.Int64, Shape: nil}, {Name: "y", DType: sinter.Int64, Shape: []int{2}}}
}

func (c counting) Read(i int, dst [][]byte) error {
	if c.read != nil {
		c.read(i)
	}
	if i == c.bad && c.bad > 0 {
		return errors.New("scratched")
	}
	binary.LittleEndian.PutUint64(dst[0], uint64(i))
	binary.LittleEndian.PutUint64(dst[1], uint64(-i))
	binary.LittleEndian.PutUint64(dst[1][8:], uint64(2*i))
	return nil
}

// epoch collects X of every batch of a loader's next epoch.
func epoch(t testing.TB, l *Loader) (batches [][]int64) {
	t.Helper()
	for b := range l.Batches(context.Background()) {
		x, y := b.X.Ints(), b.Y.Ints()
		if len(x) != b.Size || !slices.Equal(b.X.Shape(), []int{b.Size}) || !slices.Equal(b.Y.Shape(), []int{b.Size, 2}) {
			t.Fatalf("batch %d of %d examples has shapes %v and %v", b.Index, b.Size, b.X.Shape(), b.Y.Shape())
		}
		for k, v := range x {
			if y[2*k] != -v || y[2*k+1] != 2*v {
				t.Fatalf("example %d has y = %v", v, y[2*k:2*k+2])
			}
		}
		batches = append(batches, slices.Clone(x))
	}
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	return batches
}

func TestLoaderOrder(t *testing.T) {
	l := &Loader{Dataset: counting{n: 10}, Batch: 4}
	want := [][]int64{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}}
	for range 3 {
		if got := epoch(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("batches %v, want %v", got, want)
		}
	}
	if l.Epoch() != 3 || l.Steps() != 3 {
		t.Errorf("epoch %d, %d steps", l.Epoch(), l.Steps())
	}
	l = &Loader{Dataset: counting{n: 10}, Batch: 4, DropLast: true}
	if got := epoch(t, l); fmt.Sprint(got) != fmt.Sprint(want[:2]) || l.Steps() != 2 {
		t.Errorf("with DropLast %v", got)
	}
	l = &Loader{Dataset: counting{n: 3}, Batch: 100}
	if got := epoch(t, l); fmt.Sprint(got) != "[[0 1 2]]" {
		t.Errorf("a batch larger than the dataset: %v", got)
	}
}

func TestLoaderShuffle(t *testing.T) {
	run := func(seed uint64, prefetch, epochs int) (all [][]int64) {
		l := &Loader{Dataset: counting{n: 50}, Batch: 7, Shuffle: true, Seed: seed, Prefetch: prefetch}
		for range epochs {
			e := slices.Concat(epoch(t, l)...)
			sorted := slices.Sorted(slices.Values(e))
			for i, v := range sorted {
				if len(sorted) != 50 || v != int64(i) {
					t.Fatalf("an epoch deals out %v", sorted)
				}
			}
			all = append(all, e)
		}
		return all
	}
	a, b := run(1, 1, 3), run(1, 5, 3)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the order depends on the prefetching")
	}
	if slices.Equal(a[0], a[1]) || slices.Equal(a[1], a[2]) || slices.IsSorted(a[0]) {
		t.Error("two epochs have the same order")
	}
	if c := run(2, 1, 3); slices.Equal(a[0], c[0]) || slices.Equal(a[1], c[0]) || slices.Equal(a[0], c[1]) {
		t.Error("two seeds give the same order")
	}
	// Going on in the middle gives what an uninterrupted run gives.
	l := &Loader{Dataset: counting{n: 50}, Batch: 7, Shuffle: true, Seed: 1}
	l.Seek(1, 3)
	if got := slices.Concat(epoch(t, l)...); !slices.Equal(got, a[1][21:]) {
		t.Errorf("after Seek(1, 3) %v, want %v", got, a[1][21:])
	}
	if got := slices.Concat(epoch(t, l)...); !slices.Equal(got, a[2]) {
		t.Error("the epoch after Seek is not the next one")
	}
}

func TestLoaderMistakes(t *testing.T) {
	for want, l := range map[string]*Loader{
		"no Dataset":               {Batch: 1},
		"Batch is 0":               {Dataset: counting{n: 1}},
		"Batch is -1":              {Dataset: counting{n: 1}, Batch: -1},
		"Prefetch is -1":           {Dataset: counting{n: 1}, Batch: 1, Prefetch: -1},
		"no examples":              {Dataset: counting{}, Batch: 1},
		"use a smaller batch":      {Dataset: counting{n: 3}, Batch: 4, DropLast: true},
		"epoch -1":                 {Dataset: counting{n: 3}, Batch: 4, next: LoaderState{Epoch: -1}},
		"example 5 (epoch 0, batc": {Dataset: counting{n: 9, bad: 5}, Batch: 2},
	} {
		n := 0
		for range l.Batches(t.Context()) {
			n++
		}
		if err := l.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if l.Dataset != nil && l.Dataset.Len() == 9 && n != 2 {
			t.Errorf("%d batches before the example that cannot be read, want 2", n)
		}
	}
}

func TestLoaderCancel(t *testing.T) {
	why := errors.New("that's enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	l := &Loader{Dataset: counting{n: 1000}, Batch: 2}
	n := 0
	for range l.Batches(ctx) {
		if n++; n == 3 {
			cancel(why)
		}
	}
	if n != 3 || !errors.Is(l.Err(), why) {
		t.Errorf("%d batches, error %v", n, l.Err())
	}
	// The next loop begins afresh.
	if got := epoch(t, l); len(got) != 500 {
		t.Errorf("%d batches after a cancelled loop", len(got))
	}
	// A reader that takes long does not hold up the end.
	ctx, cancel = context.WithCancelCause(t.Context())
	release := make(chan struct{})
	l = &Loader{Dataset: counting{n: 10, read: func(i int) {
		if i == 2 {
			cancel(why)
			<-release
		}
	}}, Batch: 2}
	go func() {
		<-ctx.Done()
		close(release)
	}()
	for range l.Batches(ctx) {
	}
	if !errors.Is(l.Err(), why) {
		t.Errorf("error %v", l.Err())
	}
}

// Leaving the loop early is no error, ends the goroutine, and the epoch counts.
func TestLoaderBreak(t *testing.T) {
	before := runtime.NumGoroutine()
	l := &Loader{Dataset: counting{n: 1000}, Batch: 2, Prefetch: 3}
	for range 20 {
		for b := range l.Batches(t.Context()) {
			if b.Index == 1 {
				break
			}
		}
		if err := l.Err(); err != nil {
			t.Fatal(err)
		}
	}
	func() {
		defer func() { _ = recover() }()
		for range l.Batches(t.Context()) {
			panic("in the body")
		}
	}()
	if l.Epoch() != 21 || len(epoch(t, l)) != 500 {
		t.Errorf("epoch %d", l.Epoch())
	}
	for deadline := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestLoaderNested(t *testing.T) {
	l := &Loader{Dataset: counting{n: 10}, Batch: 2}
	defer func() {
		if recover() == nil {
			t.Error("two loops over one loader at once are not refused")
		}
	}()
	for range l.Batches(t.Context()) {
		for range l.Batches(t.Context()) {
		}
	}
}

// What a batch costs in allocations does not grow with its size.
func TestLoaderAllocations(t *testing.T) {
	bytes := func(batch int) uint64 {
		pixels := make([]byte, 8*batch*28*28)
		ds, err := ByteImages(pixels, []int{1, 28, 28}, make([]int64, 8*batch))
		if err != nil {
			t.Fatal(err)
		}
		l := &Loader{Dataset: ds, Batch: batch, Shuffle: true}
		run := func() {
			for range l.Batches(t.Context()) {
			}
		}
		run() // makes the buffers
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		for range 10 {
			run()
		}
		runtime.ReadMemStats(&b)
		return (b.TotalAlloc - a.TotalAlloc) / 80
	}
	if small, large := bytes(2), bytes(256); large > small+2048 {
		t.Errorf("a batch of 2 images allocates %d bytes, one of 256 images %d", small, large)
	}
}

func TestCombine(t *testing.T) {
	values := func(ds Dataset) (list []int64) {
		x, y := make([]byte, 8), make([]byte, 16)
		for i := range ds.Len() {
			if err := ds.Read(i, [][]byte{x, y}); err != nil {
				t.Fatal(err)
			}
			list = append(list, int64(binary.LittleEndian.Uint64(x)))
		}
		return list
	}
	sub, err := Subset(counting{n: 10}, []int{7, 0, 7})
	if err != nil || !slices.Equal(values(sub), []int64{7, 0, 7}) {
		t.Errorf("subset %v, %v", values(sub), err)
	}
	for _, bad := range []int{-1, 10} {
		if _, err := Subset(counting{n: 10}, []int{0, bad}); err == nil {
			t.Errorf("a subset with index %d of 10", bad)
		}
	}
	both, err := Concat(sub, counting{}, counting{n: 2})
	if err != nil || !slices.Equal(values(both), []int64{7, 0, 7, 0, 1}) {
		t.Errorf("concat %v", err)
	}
	other, err := Arrays(Floats("x", []float32{1}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Concat(sub, other); err == nil {
		t.Error("datasets of different fields are joined")
	}
	if _, err := Concat(); err == nil {
		t.Error("a dataset of nothing")
	}
	a, b, err := Split(counting{n: 100}, 0.2, 5)
	if err != nil || a.Len() != 80 || b.Len() != 20 {
		t.Fatalf("split: %v", err)
	}
	all := slices.Sorted(slices.Values(slices.Concat(values(a), values(b))))
	for i, v := range all {
		if v != int64(i) {
			t.Fatalf("the parts hold %v", all)
		}
	}
	_, again, _ := Split(counting{n: 100}, 0.2, 5)
	_, differs, _ := Split(counting{n: 100}, 0.2, 6)
	if !slices.Equal(values(b), values(again)) || slices.Equal(values(b), values(differs)) {
		t.Error("a split does not depend on the seed, or on more than that")
	}
	for _, f := range []float64{0, 1, -1, 2} {
		if _, _, err := Split(counting{n: 100}, f, 5); err == nil {
			t.Errorf("a split by %v", f)
		}
	}
	if _, _, err := Split(counting{n: 1}, 0.5, 5); err == nil {
		t.Error("one example is split")
	}
}

func TestArrays(t *testing.T) {
	ds, err := Arrays(Floats("x", []float32{1, 2, 3, 4}, 2), Ints("y", []int64{5, -6}))
	if err != nil {
		t.Fatal(err)
	}
	l := &Loader{Dataset: ds, Batch: 2}
	for b := range l.Batches(t.Context()) {
		if !slices.Equal(b.X.Floats(), []float32{1, 2, 3, 4}) || !slices.Equal(b.Y.Ints(), []int64{5, -6}) {
			t.Errorf("x = %v, y = %v", b.X.Floats(), b.Y.Ints())
		}
	}
	if err := l.Err(); err != nil {
		t.Error(err)
	}
	for name, as := range map[string][]Array{
		"nothing":           nil,
		"different lengths": {Floats("x", make([]float32, 4), 2), Ints("y", make([]int64, 3))},
		"a part of one":     {Floats("x", make([]float32, 5), 2)},
		"an empty shape":    {Floats("x", nil, 0)},
		"a negative shape":  {Floats("x", make([]float32, 4), -2, -2)},
	} {
		if _, err := Arrays(as...); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
