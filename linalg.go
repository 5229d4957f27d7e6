package sinter

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// MatMul is the matrix product, by PyTorch's rules: [m, k]·[k, n] gives [m, n]; a
// vector on the left is a row, on the right a column, and its axis vanishes; axes
// before the last two are batches and broadcast. Types are promoted.
func (t *Tensor) MatMul(o *Tensor) *Tensor {
	l, r := len(t.node.Shape), len(o.node.Shape)
	in := promoted([]*ir.Node{t.node, o.node})
	a, b := in[0], in[1]
	if l == 0 || r == 0 || a.DType == Bool {
		ir.Fail("MatMul", "%v%v and %v%v have no matrix product", t.node.DType, t.node.Shape, o.node.DType, o.node.Shape)
	}
	if inner := max(0, r-2); a.Shape[l-1] != b.Shape[inner] {
		ir.Fail("MatMul", "inner extents %d and %d of shapes %v and %v differ", a.Shape[l-1], b.Shape[inner], a.Shape, b.Shape)
	}
	switch {
	case r <= 2 || l == 1: // no batches, or only those of one operand, which stay in place
		return wrap(ir.New(ir.DotGeneral, ir.Dot{LeftContract: []int{l - 1}, RightContract: []int{max(0, r-2)}}, a, b))
	case l == 2: // [m, batch…, n] → [batch…, m, n]
		y := ir.New(ir.DotGeneral, ir.Dot{LeftContract: []int{1}, RightContract: []int{r - 2}}, a, b)
		p := slices.Insert(span(r)[1:], r-2, 0)
		return wrap(ir.Permute(y, p))
	}
	batch := must[[]int]("MatMul")(shape.Broadcast(a.Shape[:l-2], b.Shape[:r-2]))
	a = ir.Broadcast(a, append(slices.Clone(batch), a.Shape[l-2:]...))
	b = ir.Broadcast(b, append(slices.Clone(batch), b.Shape[r-2:]...))
	return wrap(ir.MatMul(a, b))
}

// Einsum is Einstein's sum: each letter names an axis, letters that the result does
// not name are summed over.
//
//	Einsum("bhqd,bhkd->bhqk", q, k)   // scores of attention
//	Einsum("ij,ij->", a, b)           // sum of products
//	Einsum("ii->i", a)                // diagonal
//	Einsum("...ij,...jk->...ik", a, b)
//
// Without "->" the result has the letters that occur once, in alphabetical order.
// Operands are contracted from left to right. Types are promoted; axes of extent 1
// broadcast.
func Einsum(eq string, ts ...*Tensor) *Tensor {
	left, right, explicit := strings.Cut(strings.ReplaceAll(eq, " ", ""), "->")
	specs := strings.Split(left, ",")
	if len(specs) != len(ts) || len(ts) == 0 {
		ir.Fail("Einsum", "%q names %d operands, got %d", eq, len(specs), len(ts))
	}
	terms := make([]term, len(ts))
	extents := make(map[rune]int)
	uses := make(map[rune]int)
	dots := 0
	for i, x := range promoted(nodes(ts)) {
		labels, n := axisLabels(eq, specs[i], x.Shape)
		dots = max(dots, n)
		terms[i] = term{x, labels}
		for j, l := range labels {
			uses[l]++
			d, seen := extents[l]
			if seen && d != x.Shape[j] && d != 1 && x.Shape[j] != 1 {
				ir.Fail("Einsum", "%q: an axis has extent %d in shape %v and %d elsewhere", eq, x.Shape[j], x.Shape, d)
			}
			if !seen || d == 1 {
				extents[l] = x.Shape[j]
			}
		}
	}
	var result []rune
	if explicit {
		result = resultLabels(eq, right, dots)
	} else {
		for _, l := range slices.Sorted(maps.Keys(uses)) { // axes of "..." are negative
			if l < 0 || uses[l] == 1 {
				result = append(result, l)
			}
		}
	}
	for i, l := range result {
		if uses[l] == 0 || slices.Contains(result[:i], l) {
			ir.Fail("Einsum", "%q: %q is no axis of an operand or stands twice in the result", eq, l)
		}
	}
	for i := range terms {
		terms[i] = terms[i].diagonal(eq).squeeze(extents)
	}
	acc := terms[0]
	for i := 0; ; i++ {
		later := slices.Clone(result)
		for _, t := range terms[min(i+1, len(terms)):] {
			later = append(later, t.labels...)
		}
		if i == 0 {
			acc = acc.keep(later)
			continue
		}
		if i == len(terms) {
			break
		}
		acc = acc.times(terms[i], later)
	}
	return wrap(ir.Permute(acc.node, acc.positions(result)))
}

// term is an operand of an einsum with a name for each axis. The axes that "..."
// stands for are called −n, …, −1.
type term struct {
	node   *ir.Node
	labels []rune
}

// axisLabels names the axes of an operand and counts those of its "...".
func axisLabels(eq, spec string, sh []int) (labels []rune, dots int) {
	before, after, open := strings.Cut(spec, "...")
	dots = len(sh) - len(before) - len(after)
	if dots < 0 || dots > 0 && !open {
		ir.Fail("Einsum", "%q: %q does not name the axes of shape %v", eq, spec, sh)
	}
	return labelled(eq, before, after, dots), dots
}

func resultLabels(eq, spec string, dots int) []rune {
	before, after, open := strings.Cut(spec, "...")
	if !open {
		dots = 0
	}
	return labelled(eq, before, after, dots)
}

func labelled(eq, before, after string, dots int) []rune {
	labels := []rune(before)
	for i := range dots {
		labels = append(labels, rune(i-dots))
	}
	labels = append(labels, []rune(after)...)
	for _, l := range labels {
		if l >= 0 && (l > unicode.MaxASCII || !unicode.IsLetter(l)) {
			ir.Fail("Einsum", "%q: %q is not a letter", eq, l)
		}
	}
	return labels
}

// diagonal makes one axis of those that have one name.
func (t term) diagonal(eq string) term {
	for j := 1; j < len(t.labels); j++ {
		i := slices.Index(t.labels[:j], t.labels[j])
		if i < 0 {
			continue
		}
		x := t.node
		if x.Shape[i] != x.Shape[j] {
			ir.Fail("Einsum", "%q: %q names two axes of shape %v that differ", eq, t.labels[j], x.Shape)
		}
		same := ir.New(ir.Eq, nil, ir.NewIota(Int32, x.Shape, i), ir.NewIota(Int32, x.Shape, j))
		t.node = sum(choose(same, x, like(x, 0)), []int{j})
		t.labels = slices.Delete(slices.Clone(t.labels), j, j+1)
		j--
	}
	return t
}

// squeeze drops axes of extent 1 that are longer elsewhere.
func (t term) squeeze(extents map[rune]int) term {
	var sh []int
	var labels []rune
	for i, l := range t.labels {
		if t.node.Shape[i] == extents[l] {
			sh, labels = append(sh, extents[l]), append(labels, l)
		}
	}
	return term{ir.ReshapeTo(t.node, sh), labels}
}

// keep sums over the axes that are not needed.
func (t term) keep(needed []rune) term {
	var axes []int
	var labels []rune
	for i, l := range t.labels {
		if slices.Contains(needed, l) {
			labels = append(labels, l)
		} else {
			axes = append(axes, i)
		}
	}
	return term{sum(t.node, axes), labels}
}

// positions are the axes that have the given names.
func (t term) positions(labels []rune) []int {
	p := make([]int, len(labels))
	for i, l := range labels {
		p[i] = slices.Index(t.labels, l)
	}
	return p
}

// times is the product of two terms, summed over what is not needed any more.
func (t term) times(o term, later []rune) term {
	t = t.keep(slices.Concat(later, o.labels))
	o = o.keep(slices.Concat(later, t.labels))
	var batch, contract, result []rune
	for _, l := range t.labels {
		switch {
		case !slices.Contains(o.labels, l):
		case slices.Contains(later, l):
			batch = append(batch, l)
		default:
			contract = append(contract, l)
		}
	}
	result = slices.Clone(batch)
	for _, l := range slices.Concat(t.labels, o.labels) {
		if !slices.Contains(batch, l) && !slices.Contains(contract, l) {
			result = append(result, l)
		}
	}
	if len(contract) > 0 {
		return term{ir.New(ir.DotGeneral, ir.Dot{
			LeftBatch: t.positions(batch), RightBatch: o.positions(batch),
			LeftContract: t.positions(contract), RightContract: o.positions(contract),
		}, t.node, o.node), result}
	}
	sh := make([]int, len(result))
	for i, l := range result {
		if j := slices.Index(t.labels, l); j >= 0 {
			sh[i] = t.node.Shape[j]
		} else {
			sh[i] = o.node.Shape[slices.Index(o.labels, l)]
		}
	}
	return term{mul(t.spread(result, sh), o.spread(result, sh)), result}
}

// spread is the term with the axes and the shape of a result that has all of its
// names.
func (t term) spread(result []rune, sh []int) *ir.Node {
	var order []rune
	var axes []int
	for i, l := range result {
		if slices.Contains(t.labels, l) {
			order, axes = append(order, l), append(axes, i)
		}
	}
	return ir.BroadcastTo(ir.Permute(t.node, t.positions(order)), sh, axes)
}
