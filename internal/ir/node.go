// Package ir is the intermediate representation: a lazy graph of nodes.
//
// An operation of the root package checks shapes and records one Node; nothing
// is computed. The graph then goes through the phases of the compiler, each a
// package of its own: grad adds the nodes of the derivatives, rewrite simplifies,
// fuse cuts the graph into kernels, plan orders them and places their results in
// memory. op.go is the table of operations, attr.go their attributes, rules.go
// the shape rules that New calls, graph.go walks, prints, verifies and keys.
//
// A node is immutable once built, with one exception: when its value has been
// computed it turns into an Input (Materialize), so that what led to it can be
// collected.
package ir

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// Node is an operation with its operands: a value that is known or can be
// computed.
type Node struct {
	Op    Op
	DType dtype.DType
	Shape []int
	In    []*Node
	Attr  Attr

	// Storage is set for Input: what it reads, and the version it was built on.
	Storage *Storage
	Version uint64

	// Effects are assignments that are carried out with the first evaluation of this
	// node (running statistics, random counters); see Withdraw.
	Effects []*Node

	site  *Site
	epoch uint64 // of the walk that numbered this node
	num   int    // its number in that walk
}

// Storage is the identity of a leaf's memory. Data belongs to the root package
// (a device buffer); the compiler only compares pointers.
type Storage struct {
	Data    any
	Version uint64 // advanced every time the content is overwritten
	Name    string // for messages: a variable's name, "batch", …

	epoch uint64 // of the walk that numbered it as a leaf
	num   int    // its number in that walk
}

// Site is where in the user's program a node was recorded.
type Site struct {
	pcs   [8]uintptr
	n     int
	scope *Scope // of nodes that were recorded while scopes were traced
}

// module is the import path prefix of the library itself; frames below it are
// not the user's.
var module = func() string {
	pc, _, _, _ := runtime.Caller(0)
	f := runtime.FuncForPC(pc).Name()
	return f[:strings.Index(f, "/internal/ir")]
}()

// String is the file and line of the first frame outside the library, or of the
// outermost frame that was recorded.
func (s *Site) String() string {
	if s == nil {
		return "unknown place"
	}
	frames := runtime.CallersFrames(s.pcs[:s.n])
	last := "unknown place"
	for {
		f, more := frames.Next()
		if f.File != "" {
			last = fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if f.Function != "" && !library(f.Function, f.File) {
			return last
		}
		if !more {
			return last
		}
	}
}

// library tells whether a function belongs to the packages that only pass calls
// on: the root, nn, optim, train and what is below; not to models, examples,
// commands and tests, which are users.
func library(fn, file string) bool {
	rest, ok := strings.CutPrefix(fn, module)
	if !ok {
		return strings.HasPrefix(fn, "runtime.")
	}
	if strings.HasSuffix(file, "_test.go") {
		return false
	}
	for _, p := range []string{".", "/internal/", "/nn.", "/optim.", "/train.", "/metric.", "/data."} {
		if strings.HasPrefix(rest, p) {
			return true
		}
	}
	return false
}

// here records the callers of the operation being built. Places come again at every
// step; those that were met last are shared.
//
//go:noinline
func here() *Site {
	var s Site
	s.n = callers(&s.pcs)
	h := uint64(s.n)
	for _, pc := range s.pcs[:s.n] {
		h = (h ^ uint64(pc)) * 0x9e3779b97f4a7c15 // the golden ratio's fraction
	}
	place := &places[h>>54]
	if old := place.Load(); old != nil && *old == s {
		return old
	}
	c := s
	place.Store(&c)
	return &c
}

// places holds a site for every value of ten bits of its hash.
var places [1 << 10]atomic.Pointer[Site]

// Site is where the node was recorded; nodes of a gradient carry the site of the
// operation they differentiate.
func (n *Node) Site() *Site { return n.site }

// Elements is the number of elements of the node's value.
func (n *Node) Elements() int {
	e := 1
	for _, d := range n.Shape {
		e *= d
	}
	return e
}

// Bytes is the size of the node's value in memory.
func (n *Node) Bytes() int { return n.Elements() * n.DType.Size() }

// BuildError is what a wrong shape or element type panics with: a mistake in the
// model, reported at the operation that cannot be built.
type BuildError struct {
	Op     string
	Reason string
	Site   *Site
}

func (e *BuildError) Error() string {
	return fmt.Sprintf("%s: %s (at %v)", e.Op, e.Reason, e.Site)
}

// Fail panics with a BuildError for the operation called op.
func Fail(op, format string, args ...any) {
	panic(&BuildError{Op: op, Reason: fmt.Sprintf(format, args...), Site: here()})
}

// Recover turns a BuildError panic into an error; every entry point that builds
// graphs on behalf of a user defers it. Other panics pass.
func Recover(err *error) {
	if r := recover(); r != nil {
		b, ok := r.(*BuildError)
		if !ok {
			panic(r)
		}
		*err = b
	}
}

// New records an operation. It panics with a BuildError if the operands do not
// fit.
func New(op Op, attr Attr, in ...*Node) *Node {
	n := &Node{Op: op, Attr: attr, In: in}
	if err := infer(n); err != nil {
		panic(&BuildError{Op: op.String(), Reason: err.Error(), Site: here()})
	}
	return n
}
