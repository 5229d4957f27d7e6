package data

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/apart"
	"github.com/sinter-dl/sinter/internal/device"
)

var separate = apart.New()

func init() { device.Register(separate) }

// on runs the test on a device, and leaves the one that was in use.
func on(t *testing.T, name string) {
	t.Helper()
	before := sinter.DeviceName()
	if err := sinter.SetDevice(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sinter.SetDevice(before); err != nil {
			t.Error(err)
		}
	})
}

// A dataset on the device comes in the same batches, in the same order, from wherever a
// run goes on; and only the numbers of examples are uploaded.
func TestCacheDevice(t *testing.T) {
	defer func(n int) { pieceBytes = n }(pieceBytes)
	pieceBytes = 24 * 130 // three pieces of 128 examples, the last not full
	for _, name := range []string{"cpu", "apart:0"} {
		on(t, name)
		of := counting{n: 300}
		ds, err := CacheDevice(context.Background(), of, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []Loader{
			{Batch: 32},
			{Batch: 7, Shuffle: true, Seed: 3},
			{Batch: 64, Shuffle: true, DropLast: true},
			{Batch: 1000},
			{Batch: 11, Sampler: SubsetSampler{Indices: []int{3, 299, 0, 17, 130, 128, 127, 64, 63, 1, 2, 5, 8}}, Seed: 9},
		} {
			a, b := l, l
			a.Dataset, b.Dataset = of, ds
			for e := range 3 {
				if x, y := epoch(t, &a), epoch(t, &b); !reflect.DeepEqual(x, y) {
					t.Errorf("%s, epoch %d of %d: %v, expected %v", name, e, l.Batch, y, x)
				}
			}
			a, b = l, l
			a.Dataset, b.Dataset = of, ds
			a.Seek(1, 0)
			for range a.Batches(context.Background()) {
				break
			}
			if err := b.SetState(a.State()); err != nil {
				t.Fatal(err)
			}
			if err := a.SetState(a.State()); err != nil {
				t.Fatal(err)
			}
			if x, y := epoch(t, &a), epoch(t, &b); !reflect.DeepEqual(x, y) || !reflect.DeepEqual(a.State(), b.State()) {
				t.Errorf("%s: from %+v on %v, expected %v", name, a.State(), y, x)
			}
		}
		before := sinter.ReadStats().Uploaded
		l := Loader{Dataset: ds, Batch: 100}
		for range l.Batches(context.Background()) {
		}
		if got := sinter.ReadStats().Uploaded - before; name == "cpu" && got != 0 || name != "cpu" && got != 300*8 {
			t.Errorf("%s: %d bytes uploaded for 300 examples", name, got)
		}
	}
}

type jittered struct{ counting }

func (j jittered) Epoch(int) Dataset { return j }

// What cannot be kept on the device is said, and so is an example that cannot be read.
func TestCacheDeviceRefuses(t *testing.T) {
	on(t, "apart:1")
	ctx := context.Background()
	d := separate.Opened("apart:1")
	d.SetLimit(d.Used() + 10_000)
	defer d.SetLimit(4 << 30)
	for _, c := range []struct {
		ds      Dataset
		reserve int64
		say     string
	}{
		{jittered{counting{n: 10}}, 0, "anew for every epoch"},
		{counting{n: 1000}, 0, "1000 examples of 24 bytes"},
		{counting{n: 300}, 3000, "has"},
	} {
		if _, err := CacheDevice(ctx, c.ds, c.reserve); !errors.Is(err, ErrNoCache) || !strings.Contains(fmt.Sprint(err), c.say) {
			t.Errorf("%v does not say %q", err, c.say)
		}
	}
	if _, err := CacheDevice(ctx, counting{n: 300}, 0); err != nil {
		t.Error(err)
	}
	var bad *ExampleError
	if _, err := CacheDevice(ctx, counting{n: 20, bad: 17}, 0); !errors.As(err, &bad) || bad.Index != 17 {
		t.Error(err)
	}
	stop, cancel := context.WithCancelCause(ctx)
	cancel(errors.New("enough"))
	if _, err := CacheDevice(stop, counting{n: 20}, 0); err == nil || err.Error() != "enough" {
		t.Error(err)
	}
}
