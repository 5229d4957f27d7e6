package sinter

import (
	"encoding/binary"
	"math"
	"testing"
)

// A snapshot has the values of the moment at which it was taken, whatever is assigned
// while it is being copied, and what is assigned is not lost.
func TestSnapshotVariables(t *testing.T) {
	const n = 1 << 20
	large, other, few := NewVariable("large", Zeros(Float32, n)), NewVariable("other", Zeros(Float32, n)), NewVariable("few", Zeros(Float32, 3))
	vars := []*Variable{large, other, few}
	dst := [][]byte{make([]byte, 4*n), make([]byte, 4*n), make([]byte, 12)}
	add := FP32.CompileAssign(func([]*Tensor) ([]*Variable, []*Tensor) {
		for _, v := range vars {
			v.Assign(v.Value().AddScalar(1))
		}
		return vars, nil
	})
	count := float32(0)
	step := func() {
		t.Helper()
		if _, err := add.Call(); err != nil {
			t.Fatal(err)
		}
		count++
	}
	for range 20 {
		step()
		want := count
		wait, err := SnapshotVariables(vars, dst)
		if err != nil {
			t.Fatal(err)
		}
		step()
		if err := other.SetBytes(make([]byte, 4*n)); err != nil {
			t.Fatal(err)
		}
		other.Assign(Full(Float32, float64(count), n))
		if err := EvalAssign([]*Variable{other}); err != nil {
			t.Fatal(err)
		}
		step()
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		for i, b := range dst {
			for ; len(b) > 0; b = b[4:] {
				if got := math.Float32frombits(binary.LittleEndian.Uint32(b)); got != want {
					t.Fatalf("%s is %g in the snapshot, expected %g", vars[i].Name, got, want)
				}
			}
			if got := vars[i].Value().Floats(); got[0] != count || got[len(got)-1] != count {
				t.Fatalf("%s is %g, expected %g", vars[i].Name, got[0], count)
			}
		}
	}
	few.Assign(Full(Float32, 7, 3)) // not carried out yet
	if wait, err := SnapshotVariables(vars[2:], dst[2:]); err != nil {
		t.Fatal(err)
	} else if err := wait(); err != nil || math.Float32frombits(binary.LittleEndian.Uint32(dst[2])) != 7 {
		t.Error("what was assigned is not in the snapshot")
	}
	if _, err := SnapshotVariables(vars[1:], dst[:2]); err == nil {
		t.Error("memory of the wrong size is taken")
	}
}
