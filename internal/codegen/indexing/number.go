package indexing

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
)

// A number says how elements of a type are added up: integers in 32 or 64 bits without a
// sign, which wrap and whose lower bits are right, 16-bit floats in float32.
type number struct {
	storage string      // type in memory
	sum     string      // type of a sum
	wide    dtype.DType // type whose elements hold a sum

	get, put string // patterns of an element read, $p[$i], and of a sum $v to be stored there

	// Patterns of the elements in a word $w of 32 bits, and of the word that sums $v0 and
	// $v1 make; none where elements are not moved by words.
	lane []string
	word string

	// A running sum: its beginning, the addition of e, and what it comes to. Those of
	// floats keep aside what every addition rounds off (Knuth's TwoSum), unless there are
	// infinities.
	start, add, value string
}

func numberOf(d dtype.DType, t *codegen.Target) (number, error) {
	n := number{get: "($sum)$p[$i]", put: "$p[$i] = ($storage)$v", start: "$sum sum = 0;", add: "sum += e;", value: "sum"}
	switch d {
	case dtype.Int8:
		n.storage, n.sum, n.wide = "i8", "u32", dtype.Int32
	case dtype.Uint8:
		n.storage, n.sum, n.wide = "u8", "u32", dtype.Int32
	case dtype.Int32:
		n.storage, n.sum, n.wide = "u32", "u32", dtype.Int32
		n.lane, n.word = []string{"$w"}, "$v0"
	case dtype.Int64:
		n.storage, n.sum, n.wide = "u64", "u64", dtype.Int64
	case dtype.Float16:
		n.storage, n.sum, n.wide, n.get, n.put = "u16", "f32", dtype.Float32, "f32_of_f16($p[$i])", "$p[$i] = f16_of_f32($v)"
		n.lane, n.word = []string{"f32_of_f16(half_word($w, 0))", "f32_of_f16(half_word($w, 1))"}, "pack_f16($v0, $v1)"
	case dtype.BFloat16:
		n.storage, n.sum, n.wide, n.get, n.put = "u16", "f32", dtype.Float32, "f32_of_bf16($p[$i])", "$p[$i] = bf16_of_f32($v)"
		n.lane, n.word = []string{"f32_of_bf16(half_word($w, 0))", "f32_of_bf16(half_word($w, 1))"}, "pack_bf16($v0, $v1)"
	case dtype.Float32:
		n.storage, n.sum, n.wide = "f32", "f32", d
		n.lane, n.word = []string{"f32_of_bits($w)"}, "bits_f32($v0)"
	case dtype.Float64:
		if !t.Float64 {
			return n, fmt.Errorf("the device has no float64; use float32")
		}
		n.storage, n.sum, n.wide = "f64", "f64", d
	default:
		return n, fmt.Errorf("elements of %v cannot be added up", d)
	}
	if d.IsFloat() {
		n.start = "$sum sum = 0, lost = 0;"
		n.add = "{ $sum next = sum + e, part = next - sum; lost += (sum - (next - part)) + (e - part); sum = next; }"
		n.value = "(lost == lost ? sum + lost : sum)"
	}
	v := vars{"storage": n.storage, "sum": n.sum}
	n.start, n.add = expand(n.start, v), expand(n.add, v)
	return n, nil
}

// load is element i of memory p, as a term of a sum.
func (n *number) load(p, i string) string {
	return expand(n.get, vars{"p": p, "i": i, "sum": n.sum})
}

// store is the statement that makes element i of memory p the sum v.
func (n *number) store(p, i, v string) string {
	return expand(n.put, vars{"p": p, "i": i, "v": v, "storage": n.storage})
}

// lanes are the elements of a vec16, as terms of sums.
func (n *number) lanes(vector string) (list []string) {
	for _, w := range []string{"x", "y", "z", "w"} {
		for _, l := range n.lane {
			list = append(list, expand(l, vars{"w": vector + "." + w}))
		}
	}
	return list
}

// pack are statements that make sums the elements of a vec16.
func (n *number) pack(vector string, sums []string) string {
	s := ""
	for i, w := range []string{"x", "y", "z", "w"} {
		v := vars{"v0": sums[i*len(n.lane)]}
		if len(n.lane) > 1 {
			v["v1"] = sums[i*len(n.lane)+1]
		}
		s += vector + "." + w + " = " + expand(n.word, v) + "; "
	}
	return s
}
