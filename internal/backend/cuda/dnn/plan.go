package dnn

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// routine makes the Routine of a graph, whose operands may be rounded to TF32 if tf32 says
// so, or says why there is none.
func (p *Planner) routine(l *kernel.Library, g *graph, tf32 bool) (*Routine, string, error) {
	if g.why != "" {
		return nil, g.why, nil
	}
	limit := 0
	if l.Scratch >= 0 {
		limit = max(0, p.Workspace(l)-workAlign)
	}
	if limit < g.scratch {
		return nil, "no workspace", nil
	}
	key := fmt.Sprintf("cudnn %d %s sm_%d tf32=%v workspace=%d %s", p.version, p.Name, p.Card.Arch, tf32, limit-g.scratch, g.key())
	if why := p.refused[key]; why != "" {
		return nil, why, nil
	}
	plan, bytes, err := p.restored(key, limit-g.scratch)
	if err != nil {
		plan, bytes, err = p.search(g, l.In[0].DType == dtype.Float32 && !tf32, limit-g.scratch)
		var s cudnn.Status
		if errors.As(err, &s) && s.NotSupported() {
			p.refused[key] = err.Error()
			return nil, err.Error(), nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", l.Name, err)
		}
		p.remember(key, plan)
	}
	r := &Routine{p: p, label: l.Name, plan: plan, epilogue: g.epilogue, offset: g.scratch, work: bytes > 0 || g.scratch > 0}
	r.bind(g, l.Scratch)
	return r, "", nil
}

// bind says which argument each tensor of the graph is.
func (r *Routine) bind(g *graph, scratch int) {
	const work = -1 << 30
	for i, t := range g.tensors {
		w := t.where
		if w.virtual {
			continue
		}
		r.ids = append(r.ids, i+1)
		switch {
		case w.number != nil:
			r.numbers = append(r.numbers, w.number)
			r.at, r.from = append(r.at, -len(r.numbers)), append(r.from, 0)
		case w.scratch:
			r.at, r.from = append(r.at, work), append(r.from, 0)
		default:
			r.args = append(r.args, codegen.Arg{Slot: w.slot, Offset: w.offset})
			r.at, r.from = append(r.at, len(r.args)-1), append(r.from, 0)
		}
	}
	if r.work {
		r.args = append(r.args, codegen.Arg{Slot: scratch})
	}
	for i := range r.at {
		if r.at[i] == work {
			r.at[i] = len(r.args) - 1
		}
	}
}

// address is where a number is that cuDNN reads while a plan is put into a stream. The
// Routine keeps it there.
func address(v *float32) uintptr { return uintptr(unsafe.Pointer(v)) }

// restored makes a plan of what the cache holds.
func (p *Planner) restored(key string, limit int) (plan cudnn.Descriptor, bytes int, err error) {
	if p.Cache == nil {
		return 0, 0, errForgotten
	}
	text, ok := p.Cache.Get(key)
	if !ok {
		return 0, 0, errForgotten
	}
	return p.finished([]attribute{p.target(cudnn.PlanHandle, cudnn.PlanDevice), {cudnn.PlanJSON, string(text)}}, limit)
}

var errForgotten = errors.New("no plan is remembered")

// remember puts a plan into the cache; where cuDNN does not write it down, there is none.
func (p *Planner) remember(key string, plan cudnn.Descriptor) {
	if p.Cache == nil {
		return
	}
	if text, err := p.lib.Text(plan, cudnn.PlanJSON); err == nil && text != "" {
		p.Cache.Put(key, []byte(text))
	}
}

// finished makes a plan and finds out how much memory it takes.
func (p *Planner) finished(attributes []attribute, limit int) (plan cudnn.Descriptor, bytes int, err error) {
	b := &built{lib: p.lib}
	if plan, err = b.make(cudnn.Plan, attributes); err == nil {
		bytes, err = p.lib.Int(plan, cudnn.PlanWorkspace)
	}
	if err == nil && bytes > limit {
		err = fmt.Errorf("%w: %d bytes of workspace are wanted, there are %d", statusNotSupported, bytes, limit)
	}
	if err != nil {
		return 0, 0, errors.Join(err, b.free())
	}
	return plan, bytes, nil
}

const statusNotSupported = cudnn.Status(3000)

// search takes the first engine that heuristics name, the best first, that is acceptable,
// that has a plan, and whose plan fits. exact is as for accepts.
func (p *Planner) search(g *graph, exact bool, limit int) (plan cudnn.Descriptor, bytes int, err error) {
	b, err := p.build(g)
	defer func() { err = errors.Join(err, b.free()) }()
	if err != nil {
		return 0, 0, err
	}
	why := fmt.Errorf("%w: no engine", statusNotSupported)
	for _, mode := range []cudnn.HeurModeOf{cudnn.HeurA, cudnn.HeurFallback} {
		configs, err := p.configs(b, mode)
		if err != nil {
			if !notSupported(err) {
				return 0, 0, err
			}
			why = err
			continue
		}
		for _, c := range configs {
			ok, err := p.accepts(b, c, exact)
			if err != nil {
				return 0, 0, err
			}
			if !ok {
				continue
			}
			plan, bytes, err = p.finished([]attribute{p.target(cudnn.PlanHandle, cudnn.PlanDevice), {cudnn.PlanConfig, c}}, limit)
			if err == nil {
				return plan, bytes, nil
			}
			if !notSupported(err) {
				return 0, 0, err
			}
			why = err
		}
	}
	return 0, 0, why
}

func notSupported(err error) bool {
	var s cudnn.Status
	return errors.As(err, &s) && s.NotSupported()
}

// configs asks heuristics for engines with their settings, the most promising first.
func (p *Planner) configs(b *built, mode cudnn.HeurModeOf) ([]cudnn.Descriptor, error) {
	a := []attribute{{cudnn.HeurGraph, b.top}, {cudnn.HeurMode, mode}}
	if p.properties != 0 {
		a = append(a, attribute{cudnn.HeurDevice, p.properties})
	}
	h, err := b.make(cudnn.Heuristics, a)
	if err != nil {
		return nil, err
	}
	n, err := p.lib.Count(h, cudnn.HeurResults)
	if err != nil {
		return nil, err
	}
	list := make([]cudnn.Descriptor, n)
	for i := range list {
		if list[i], err = p.lib.New(cudnn.EngineConfig); err != nil {
			return nil, err
		}
		b.all = append(b.all, list[i])
	}
	n, err = p.lib.Descriptors(h, cudnn.HeurResults, list)
	return list[:max(n, 0)], err
}

// target says which device something is for: that of the handle, or one that is described.
func (p *Planner) target(handle, properties cudnn.Attr) attribute {
	if p.properties != 0 {
		return attribute{properties, p.properties}
	}
	return attribute{handle, p.handle}
}

// accepts tells whether an engine may be used, with exact set only if it rounds no operand.
func (p *Planner) accepts(b *built, config cudnn.Descriptor, exact bool) (bool, error) {
	engine, err := p.lib.New(cudnn.Engine)
	if err != nil {
		return false, err
	}
	b.all = append(b.all, engine)
	list := []cudnn.Descriptor{engine}
	if _, err := p.lib.Descriptors(config, cudnn.ConfigEngine, list); err != nil {
		return false, err
	}
	notes, err := p.lib.Notes(engine)
	if err != nil {
		return false, err
	}
	for _, n := range []cudnn.Note{cudnn.Nondeterministic, cudnn.ReducedReduction} {
		if slices.Contains(notes, n) {
			return false, nil
		}
	}
	return !exact || !slices.Contains(notes, cudnn.TensorCore) && !slices.Contains(notes, cudnn.DownConvert), nil
}
