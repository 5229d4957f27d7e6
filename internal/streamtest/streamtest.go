// Package streamtest checks in tests that a data.Stream keeps what the interface
// demands: the same records every time, every example once over all shards, and going
// on at any Mark.
package streamtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/data"
)

// Example is one example of a pass.
type Example struct {
	Index  int64
	Fields [][]byte
	Err    error // in place of Fields
	mark   data.Mark
}

// Read goes through a pass, from a mark on. Records that are spoilt have an Err.
func Read(t testing.TB, s data.Stream, pass data.Pass, from data.Mark) []Example {
	t.Helper()
	all, err := TryRead(s, pass, from)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TryRead is Read with the error that ends a pass early.
func TryRead(s data.Stream, pass data.Pass, from data.Mark) (all []Example, err error) {
	r, err := s.Open(pass, from)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var rec data.Record
	for {
		e := Example{mark: r.Mark()}
		err := r.Next(&rec)
		var bad *data.RecordError
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case errors.As(err, &bad):
			e.Index, e.Err = bad.Index, err
		case err != nil:
			return all, err
		default:
			e.Index = rec.Index
			for _, f := range s.Fields() {
				e.Fields = append(e.Fields, make([]byte, f.Bytes()))
			}
			e.Err = s.Decode(&rec, e.Fields)
		}
		all = append(all, e)
	}
}

// Check reads a stream in many ways and returns its examples in order.
func Check(t *testing.T, s data.Stream) []Example {
	t.Helper()
	whole := Read(t, s, data.Pass{Shards: 1}, data.Mark{})
	if n := s.Len(); n >= 0 && n != len(whole) {
		t.Errorf("Len is %d, but there are %d examples", n, len(whole))
	}
	byIndex := map[int64]Example{}
	for _, e := range whole {
		if _, twice := byIndex[e.Index]; twice {
			t.Fatalf("two examples have the index %d", e.Index)
		}
		byIndex[e.Index] = e
	}
	for _, shards := range []int{1, 2, 3} {
		for _, shuffle := range []bool{false, true} {
			var seen []int64
			for shard := range shards {
				pass := data.Pass{Epoch: 2, Shard: shard, Shards: shards, Shuffle: shuffle, Seed: 7}
				part := Read(t, s, pass, data.Mark{})
				for i, e := range part {
					seen = append(seen, e.Index)
					if err := same(e, byIndex[e.Index]); err != nil {
						t.Fatalf("%+v: example %d: %v", pass, e.Index, err)
					}
					if i%(7+len(part)/20) != 1 && i != len(part)-1 { // some of the marks
						continue
					}
					rest := Read(t, s, pass, e.mark)
					if len(rest) != len(part)-i {
						t.Fatalf("%+v: from %+v on there are %d examples, expected %d", pass, e.mark, len(rest), len(part)-i)
					}
					for k, r := range rest {
						if err := same(r, part[i+k]); err != nil {
							t.Fatalf("%+v: from %+v on, example %d: %v", pass, e.mark, k, err)
						}
					}
				}
			}
			slices.Sort(seen)
			if n := len(seen); n != len(whole) || len(slices.Compact(seen)) != n {
				t.Errorf("%d shards give %d examples, expected each of %d once", shards, n, len(whole))
			}
		}
	}
	return whole
}

func same(a, b Example) error {
	if a.Index != b.Index {
		return fmt.Errorf("index %d and %d", a.Index, b.Index)
	}
	if fmt.Sprint(a.Err) != fmt.Sprint(b.Err) {
		return fmt.Errorf("errors %v and %v", a.Err, b.Err)
	}
	if a.Err == nil && !slices.EqualFunc(a.Fields, b.Fields, bytes.Equal) {
		return fmt.Errorf("fields %x and %x", a.Fields, b.Fields)
	}
	return nil
}
