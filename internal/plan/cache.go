package plan

import (
	"container/list"
	"fmt"
	"os"
	"slices"

	"github.com/sinter-dl/sinter/internal/debug"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/nvtx"
)

// Cache holds the programs of one device, the most recently used ones. It is not
// safe for concurrent use.
type Cache struct {
	dev     device.Device
	max     int
	entries map[string]*list.Element // by canonical key
	recent  list.List                // of *Compiled, the latest first
	shapes  map[string]history       // by the graph without its extents
	arena   int                      // bytes of the largest arena of the programs held

	// What has been done so far.
	Compiles, Recompiles int
	Reason               string // of the last recompilation
}

// Compiled is a program that is ready to run.
type Compiled struct {
	Program *kernel.Program
	device.Executable
	Attached any // what the owner of the cache keeps with it
	key      string
	held     *list.Element // its place among the recent ones; nil once it has been dropped
}

// history is the extents of a graph that was compiled before.
type history struct{ extents [][]int }

// NewCache is a cache of at most max programs.
func NewCache(dev device.Device, max int) *Cache {
	return &Cache{dev: dev, max: max, entries: make(map[string]*list.Element), shapes: make(map[string]history)}
}

// Len is the number of programs held.
func (c *Cache) Len() int { return c.recent.Len() }

// Get returns the program for the graph with the canonical key in a precision, compiling
// it if it is not there.
func (c *Cache) Get(g *ir.Graph, key []byte, leaves []*ir.Node, precision Precision) (*Compiled, error) {
	if r, ok := c.dev.(device.Rounding); !ok || !r.TF32() {
		precision.TF32 = false
	}
	key = append(key, byte(precision.Low))
	if precision.TF32 {
		key = append(key, 1)
	}
	if e := c.entries[string(key)]; e != nil {
		c.recent.MoveToFront(e)
		return e.Value.(*Compiled), nil
	}
	nvtx.Push("compile")
	defer nvtx.Pop()
	c.explain(g)
	p := Build(g.Outputs, leaves, c.dev, precision)
	x, err := c.dev.Compile(p)
	if err != nil {
		return nil, fmt.Errorf("plan: compiling a program of %d kernels for %s: %w", len(p.Steps), c.dev.Name(), err)
	}
	c.Compiles++
	k := &Compiled{Program: p, Executable: x, key: string(key)}
	k.held = c.recent.PushFront(k)
	c.entries[k.key] = k.held
	c.arena = max(c.arena, p.Arena)
	for c.recent.Len() > c.max {
		c.drop(c.recent.Back().Value.(*Compiled))
	}
	return k, nil
}

func (c *Cache) drop(k *Compiled) {
	c.recent.Remove(k.held)
	k.held = nil
	delete(c.entries, k.key)
	k.Close()
	c.arena = 0
	for e := c.recent.Front(); e != nil; e = e.Next() {
		c.arena = max(c.arena, e.Value.(*Compiled).Program.Arena)
	}
}

// Use tells whether the program is still held and can be run; it is the one used last
// then. So whoever keeps a program that Get returned need not look for it.
func (c *Cache) Use(k *Compiled) bool {
	if k.held == nil {
		return false
	}
	c.recent.MoveToFront(k.held)
	return true
}

// Arena is the number of bytes of the largest arena of the programs held, which a device
// has one of for all.
func (c *Cache) Arena() int { return c.arena }

// Close drops all programs.
func (c *Cache) Close() {
	for c.recent.Len() > 0 {
		c.drop(c.recent.Back().Value.(*Compiled))
	}
}

// explain finds out whether a graph differs from an earlier one in its extents
// only, and where.
func (c *Cache) explain(g *ir.Graph) {
	kind := make([]byte, 0, 4*len(g.Nodes))
	extents := make([][]int, len(g.Nodes))
	for i, n := range g.Nodes {
		kind = append(kind, byte(n.Op), byte(n.DType), byte(len(n.Shape)), byte(len(n.In)))
		extents[i] = n.Shape
	}
	old, ok := c.shapes[string(kind)]
	if !ok && len(c.shapes) >= 4*c.max {
		clear(c.shapes)
	}
	c.shapes[string(kind)] = history{extents}
	if !ok {
		return
	}
	c.Recompiles++
	c.Reason = "an attribute or the number of a leaf has changed"
	for i, n := range g.Nodes {
		if !slices.Equal(old.extents[i], n.Shape) {
			c.Reason = fmt.Sprintf("%v at %v was %v and is %v", n.Op, n.Site(), old.extents[i], n.Shape)
			if n.Storage != nil && n.Storage.Name != "" {
				c.Reason = fmt.Sprintf("%s was %v and is %v", n.Storage.Name, old.extents[i], n.Shape)
			}
			break
		}
	}
	if debug.On("recompile") {
		fmt.Fprintln(os.Stderr, "compiled again:", c.Reason)
	}
}
