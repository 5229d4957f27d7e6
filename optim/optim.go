// Package optim trains: it applies an update rule to a model's variables.
//
// An [Optimizer] is made of a model and a [Rule], a struct literal of
// hyperparameters such as AdamW{LR: Cosine{Peak: 1e-3, Warmup: 500}}. Its Step
// takes a loss that was recorded but not computed, adds the gradients and the
// update to the graph, and evaluates all of it as one program; the next step of
// the same shape replays that program. What changes from step to step (the
// learning rate, the bias corrections) enters as data and never recompiles.
//
// rules.go has the update rules, schedule.go the learning rates over time, scaler.go
// the scaling of losses that float16 needs, accumulate.go updates from several losses,
// compile.go steps that are recorded once. Names and defaults are PyTorch's, except
// where a comment says so.
package optim

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/nvtx"
	"github.com/sinter-dl/sinter/nn"
)

// Optimizer holds a rule's state for a set of variables. It is used by one
// goroutine at a time.
type Optimizer struct {
	rule     Rule
	schedule Schedule
	params   []*param
	groups   []Group

	clipNorm, clipValue float64
	precision           sinter.Precision
	scaler              *scaler // nil: losses are not scaled
	gathering           gathering

	steps    int
	lrFactor float64 // see ScaleLR
	gradNorm float64
	unused   []*sinter.Variable
	updates  []*update

	// What a checkpoint keeps besides the slots and the scaler: the counts of steps (of
	// the optimizer, then of every parameter, then those skipped), the factor of the
	// learning rate, and a schedule's memory.
	counts, factor, memory *sinter.Variable
}

// param is a variable with its state.
type param struct {
	variable *sinter.Variable
	slots    []*sinter.Variable
	sum      *sinter.Variable // of gradients, see Accumulate; nil before the first
	lrScale  float64
	decay    float64
	steps    int // updates so far; fewer than the optimizer's if a loss did not depend on it
}

// Option changes how an optimizer is made.
type Option func(*Optimizer)

// Group gives some of the variables a learning rate and a weight decay of their
// own. A variable belongs to the first group that lists or matches it; those in
// none follow the rule.
type Group struct {
	Params      []*sinter.Variable
	Match       func(v *sinter.Variable) bool
	LRScale     float64  // multiplies the learning rate; 0 stands for 1
	WeightDecay *float64 // nil: the rule's
}

// Groups divides the variables. No decay for biases and norms, for example:
//
//	optim.Groups(optim.Group{
//		Match:       func(v *sinter.Variable) bool { return len(v.Shape()) < 2 },
//		WeightDecay: new(0.0),
//	})
func Groups(groups ...Group) Option {
	return func(o *Optimizer) { o.groups = append(o.groups, groups...) }
}

// ClipNorm scales all gradients down together so that their common norm is at most
// max; see nn.ClipGradNorm.
func ClipNorm(max float64) Option { return func(o *Optimizer) { o.clipNorm = max } }

// ClipValue limits every element of the gradients to ±max, before ClipNorm.
func ClipValue(max float64) Option { return func(o *Optimizer) { o.clipValue = max } }

// Precision is what the steps are computed in; float32 without this option. The
// variables and the optimizer's state keep their types in any precision.
func Precision(p sinter.Precision) Option { return func(o *Optimizer) { o.precision = p } }

// NonFiniteError is returned by a step whose loss or gradients are NaN or infinite.
// Parameters and the optimizer's state are then what they were before the step. With
// [LossScaling] it is returned only where lowering the scale has not helped.
type NonFiniteError struct {
	Step     int // updates made before
	Loss     float64
	GradNorm float64 // NaN if it was not computed
	Scale    float64 // with LossScaling, what the scale has fallen to; otherwise 0
}

func (e *NonFiniteError) Error() string {
	if e.Scale != 0 {
		return fmt.Sprintf("optim: the loss scale has fallen to %.3g and step %d is not finite all the same (the loss is %v); nothing was updated", e.Scale, e.Step, e.Loss)
	}
	if math.IsNaN(e.Loss) || math.IsInf(e.Loss, 0) {
		return fmt.Sprintf("optim: the loss of step %d is %v; nothing was updated", e.Step, e.Loss)
	}
	return fmt.Sprintf("optim: the gradients of step %d are not finite (the loss is %v); nothing was updated", e.Step, e.Loss)
}

// New makes an optimizer of a model's trainable variables as nn.Parameters lists
// them, or of a []*sinter.Variable.
func New(model any, rule Rule, opts ...Option) *Optimizer {
	vars, ok := model.([]*sinter.Variable)
	if !ok {
		vars = nn.Parameters(model)
	}
	spec := rule.Spec()
	o := &Optimizer{rule: rule, schedule: spec.LR, lrFactor: 1, gradNorm: math.NaN()}
	for _, opt := range opts {
		opt(o)
	}
	for _, v := range vars {
		p := &param{variable: v, lrScale: 1, decay: spec.WeightDecay}
		if g := o.group(v); g != nil {
			p.lrScale = or(g.LRScale, 1)
			if g.WeightDecay != nil {
				p.decay = *g.WeightDecay
			}
		}
		for _, s := range spec.Slots {
			// State is at least float32: a mean square of 16-bit gradients would be
			// rounded to zero.
			init := sinter.Full(v.DType().Compute(), s.Init, v.Shape()...)
			p.slots = append(p.slots, sinter.NewVariable(s.Name, init))
		}
		o.params = append(o.params, p)
	}
	n := len(o.countList())
	o.counts = sinter.NewVariable("optimizer.steps", sinter.FromInts(make([]int64, n), n))
	o.factor = sinter.NewVariable("optimizer.lr_factor", sinter.FromFloat64s([]float64{1}, 1))
	if s, ok := o.schedule.(stateful); ok {
		values := s.state()
		o.memory = sinter.NewVariable("optimizer.schedule", sinter.FromFloat64s(values, len(values)))
	}
	return o
}

// stateful is a schedule that remembers.
type stateful interface {
	Observe(metric float64)
	state() []float64
	setState(v []float64)
}

func (o *Optimizer) group(v *sinter.Variable) *Group {
	for i := range o.groups {
		g := &o.groups[i]
		if slices.Contains(g.Params, v) || g.Match != nil && g.Match(v) {
			return g
		}
	}
	return nil
}

// Step makes one update: it differentiates loss, a float scalar, by every
// variable, updates them, and evaluates loss and the tensors in also, all in one
// program. Variables that the loss does not depend on stay as they are, see
// [Optimizer.Unused], and so do those that are not Trainable now.
//
// The error is a *sinter.BuildError if the update cannot be built, a
// *NonFiniteError if there is none to make, else what kept the program from
// running.
func (o *Optimizer) Step(loss *sinter.Tensor, also ...*sinter.Tensor) (err error) {
	defer ir.Recover(&err)
	r, err := o.record(loss)
	if err != nil {
		return err
	}
	evaluated := append([]*sinter.Tensor{loss}, also...)
	if err := o.precision.EvalAssign(r.assigned, append(evaluated, r.flags...)...); err != nil {
		return fmt.Errorf("optim: step %d: %w", o.steps, err)
	}
	return o.concluded(r, loss, r.flags)
}

// record is a step that has been recorded and not been evaluated.
type record struct {
	used     []*param // that are updated
	unused   []*sinter.Variable
	assigned []*sinter.Variable
	flags    []*sinter.Tensor // whether all is finite; the norm of the gradients; with LossScaling the next scale
	scalars  *scalars
}

// record adds the gradients and the update to the graph.
func (o *Optimizer) record(loss *sinter.Tensor) (*record, error) {
	if err := o.trainable(loss); err != nil {
		return nil, err
	}
	if o.gathering.weight != 0 {
		return nil, errPending
	}
	r := &record{scalars: newScalars(o)}
	grads := o.differentiate(r, o.scaler.apply(loss))
	if len(r.used) == 0 {
		return nil, errUnrelated
	}
	o.change(r, loss, grads, nil)
	return r, nil
}

// trainable refuses what is no loss, and an optimizer that cannot work.
func (o *Optimizer) trainable(loss *sinter.Tensor) error {
	if loss.Rank() != 0 || !loss.DType().IsFloat() {
		ir.Fail("optim.Step", "a loss of shape %v and type %v; it has to be a float scalar (take a Mean or Sum)", loss.Shape(), loss.DType())
	}
	if o.scaler != nil {
		return o.scaler.err
	}
	return nil
}

// change adds the update of the parameters that are used to the graph. The gradients
// are what share, if it is not nil, and the scaler say times as large as they should be.
func (o *Optimizer) change(r *record, loss *sinter.Tensor, grads []*sinter.Tensor, share *sinter.Tensor) {
	nvtx.Push("update")
	defer nvtx.Pop()
	u := o.updateFor(r, share != nil)
	in := append(make([]*sinter.Tensor, 0, 4+len(r.used)*(2+u.slots)+len(r.scalars.tensors)), loss)
	in = append(in, grads...)
	if share != nil {
		in = append(in, share)
	}
	if o.scaler != nil {
		in = append(in, o.scaler.scale.Value(), o.scaler.tracker.Value())
		r.assigned = append(r.assigned, o.scaler.scale, o.scaler.tracker)
	}
	for _, p := range r.used {
		in = append(in, p.variable.Value())
		r.assigned = append(r.assigned, p.variable)
		for _, s := range p.slots {
			in = append(in, s.Value())
			r.assigned = append(r.assigned, s)
		}
	}
	out := u.function.Apply(append(in, r.scalars.tensors...)...)
	nn.Record("optimizer", out[0], in...)
	n := len(out) - len(r.assigned)
	r.flags = out[:n]
	for i, v := range r.assigned {
		v.Assign(out[n+i])
	}
}

// update is the update of certain parameters as a function of the loss, its gradients
// with respect to them, their share if they are sums, the scaler's variables if there
// is one, the parameters' values with their slots, and the scalars: it gives the flags of
// a record and then the new values of the variables in that order. It is recorded once
// and used as one operation in every step.
type update struct {
	params   []*param
	sums     bool  // of gradients, see Accumulate
	numbers  []int // for each parameter: its rate's place, and where its rule's numbers begin and end
	slots    int   // of each parameter
	function *sinter.Function
}

// maxUpdates is how many combinations of parameters an optimizer keeps the update of.
const maxUpdates = 16

// updateFor is the update of the parameters that are used.
func (o *Optimizer) updateFor(r *record, sums bool) *update {
	numbers := make([]int, 0, 3*len(r.used))
	for _, p := range r.used {
		d := p.variable.DType().Compute()
		first, end := r.scalars.rule(d, p)
		numbers = append(numbers, r.scalars.lr(d, p.lrScale), first, end)
	}
	for _, u := range o.updates {
		if u.sums == sums && slices.Equal(u.params, r.used) && slices.Equal(u.numbers, numbers) {
			return u
		}
	}
	u := &update{params: r.used, sums: sums, numbers: numbers, slots: len(o.rule.Spec().Slots)}
	u.function = sinter.NewFunction("update", func(in []*sinter.Tensor) []*sinter.Tensor { return o.update(u, in) })
	if len(o.updates) == maxUpdates {
		o.updates = o.updates[1:]
	}
	o.updates = append(o.updates, u)
	return u
}

// update is what the function of u does.
func (o *Optimizer) update(u *update, in []*sinter.Tensor) (out []*sinter.Tensor) {
	n := len(u.params)
	loss, grads, values := in[0], in[1:1+n], in[1+n:]
	var share, factor *sinter.Tensor // what the gradients are to be multiplied by
	if u.sums {
		share, values = values[0], values[1:]
		factor = share
	}
	var scale, tracker *sinter.Tensor
	if o.scaler != nil {
		scale, tracker, values = values[0], values[1], values[2:]
		factor = scale.Reciprocal()
		if share != nil {
			factor = factor.Mul(share)
		}
	}
	numbers := values[n*(1+u.slots):]
	if factor != nil {
		grads = slices.Clone(grads)
		for i, g := range grads {
			d := g.DType().Compute()
			grads[i] = g.To(d).Mul(factor.To(d))
		}
	}
	// The norm is not a number, or infinite, if any gradient is. So it is for gradients
	// above 10¹⁹, whose squares overflow, which nothing could be done with. It is taken
	// before anything is clipped: an overflow must not pass for a large gradient.
	norm := nn.GradNorm(grads)
	finite := loss.IsFinite().And(norm.IsFinite())
	out = append(out, finite, norm)
	if o.clipValue > 0 {
		grads = nn.ClipGradValue(grads, o.clipValue)
	}
	if o.clipNorm > 0 {
		grads, _ = nn.ClipGradNorm(grads, o.clipNorm)
	}
	if o.scaler != nil {
		scale, tracker = o.scaler.next(finite, scale, tracker)
		out = append(out, scale, scale, tracker)
	}
	// Variables keep their old values unless all is finite.
	keep := func(t, old *sinter.Tensor) { out = append(out, sinter.Where(finite, t, old)) }
	for i, p := range u.params {
		old, slots := values[i*(1+u.slots)], values[i*(1+u.slots)+1:][:u.slots]
		d := p.variable.DType()
		x := &Update{
			Param:       old.To(d.Compute()),
			Grad:        grads[i].To(d.Compute()),
			Slots:       slices.Clone(slots),
			LR:          numbers[u.numbers[3*i]],
			Scalars:     numbers[u.numbers[3*i+1]:u.numbers[3*i+2]],
			WeightDecay: p.decay,
		}
		o.rule.Update(x)
		keep(x.Param.To(d), old)
		for k := range slots {
			keep(x.Slots[k], slots[k])
		}
	}
	return out
}

// conclude counts a step that has been evaluated, or says why there was none, for the
// caller to add the loss. The numbers are the record's flags.
func (o *Optimizer) conclude(r *record, flags []float64) *NonFiniteError {
	o.unused = r.unused
	finite := flags[0] != 0
	o.gradNorm = flags[1]
	scale := 0.0 // that has fallen too far
	if s := o.scaler; s != nil {
		s.now = flags[2]
		if !finite {
			s.skipped++
			if s.now >= s.MinScale {
				return nil
			}
			scale = s.now
		}
	}
	if !finite {
		return &NonFiniteError{Step: o.steps, GradNorm: o.gradNorm, Scale: scale}
	}
	o.steps++
	for _, p := range r.used {
		p.steps++
	}
	return nil
}

// concluded is conclude where the numbers are in tensors.
func (o *Optimizer) concluded(r *record, loss *sinter.Tensor, flags []*sinter.Tensor) error {
	numbers := make([]float64, len(flags))
	for i, f := range flags {
		numbers[i] = f.Float()
	}
	if bad := o.conclude(r, numbers); bad != nil {
		bad.Loss = loss.Float()
		return bad
	}
	return nil
}

// differentiate lists the parameters that the loss depends on, and returns its
// gradients.
func (o *Optimizer) differentiate(r *record, loss *sinter.Tensor) (grads []*sinter.Tensor) {
	nvtx.Push("backward")
	defer nvtx.Pop()
	var live []*param
	var values []*sinter.Tensor
	for _, p := range o.params {
		if p.variable.Trainable {
			live = append(live, p)
			values = append(values, p.variable.Value())
		}
	}
	for i, g := range sinter.Grad(loss, values...) {
		if g == nil {
			r.unused = append(r.unused, live[i].variable)
			continue
		}
		r.used = append(r.used, live[i])
		grads = append(grads, g)
	}
	return grads
}

// scalars are the leaves through which numbers of a step reach the program. They
// are shared by what they mean, never by their values: two that happen to be equal
// in one step must not make another program of it.
type scalars struct {
	o       *Optimizer
	tensors []*sinter.Tensor
	rates   map[rateKey]int // where in tensors
	rules   map[ruleKey]int // number of the group
	groups  [][]*param      // parameters that share a rule's numbers
	places  [][2]int        // where in tensors those of each group begin and end
	numbers []float64       // of a rule; memory for the next time
}

type rateKey struct {
	d     sinter.DType
	scale float64
}

type ruleKey struct {
	d     sinter.DType
	steps int // that the parameters have had
}

func newScalars(o *Optimizer) *scalars {
	return &scalars{o: o, rates: map[rateKey]int{}, rules: map[ruleKey]int{}}
}

// lr is the number of the learning rate among the tensors.
func (s *scalars) lr(d sinter.DType, scale float64) int {
	key := rateKey{d, scale}
	i, ok := s.rates[key]
	if !ok {
		i = len(s.tensors)
		s.rates[key] = i
		s.tensors = append(s.tensors, sinter.RuntimeScalarFunc(d, func() float64 { return s.o.LR() * scale }))
	}
	return i
}

// rule tells where among the tensors the rule's numbers for p begin and end.
func (s *scalars) rule(d sinter.DType, p *param) (first, end int) {
	key := ruleKey{d, p.steps}
	g, ok := s.rules[key]
	if !ok {
		g = len(s.groups)
		s.rules[key] = g
		s.groups = append(s.groups, nil)
		first = len(s.tensors)
		for k := range s.o.rule.Scalars(nil, p.steps+1) {
			number := func() float64 {
				s.numbers = s.o.rule.Scalars(s.numbers[:0], p.steps+1)
				return s.numbers[k]
			}
			s.tensors = append(s.tensors, sinter.RuntimeScalarFunc(d, number))
		}
		s.places = append(s.places, [2]int{first, len(s.tensors)})
	}
	s.groups[g] = append(s.groups[g], p)
	return s.places[g][0], s.places[g][1]
}

// LR is the learning rate of the next step, before a group's scale.
func (o *Optimizer) LR() float64 { return o.schedule.At(o.steps) * o.lrFactor }

// ScaleLR multiplies what the schedule says, from the next step on, by a factor in
// place of the one before: for what changes the learning rate from outside of the
// schedule, such as train.ReduceLROnPlateau. The factor is part of the state.
func (o *Optimizer) ScaleLR(factor float64) { o.lrFactor = factor }

// LRFactor is the factor that [Optimizer.ScaleLR] set last; 1 before.
func (o *Optimizer) LRFactor() float64 { return o.lrFactor }

// LRs are the learning rates of the next step: the rate of those variables that are in
// no group, then that of each group.
func (o *Optimizer) LRs() []float64 {
	rates := []float64{o.LR()}
	for i := range o.groups {
		rates = append(rates, o.LR()*or(o.groups[i].LRScale, 1))
	}
	return rates
}

// Steps is the number of updates made.
func (o *Optimizer) Steps() int { return o.steps }

// GradNorm is the norm of all gradients in the last step, before they were
// clipped; NaN before the first.
func (o *Optimizer) GradNorm() float64 { return o.gradNorm }

// Schedule is the learning rate over time.
func (o *Optimizer) Schedule() Schedule { return o.schedule }

// SetTotalSteps tells a schedule that was written without the length of the run
// how many steps there will be; see [WithSteps].
func (o *Optimizer) SetTotalSteps(n int) { o.schedule = WithSteps(o.schedule, n) }

// Observe reports a metric to a schedule that listens to one, [ReduceOnPlateau].
func (o *Optimizer) Observe(metric float64) {
	if s, ok := o.schedule.(stateful); ok {
		s.Observe(metric)
	}
}

// Parameters lists the optimizer's variables.
func (o *Optimizer) Parameters() []*sinter.Variable {
	vars := make([]*sinter.Variable, len(o.params))
	for i, p := range o.params {
		vars[i] = p.variable
	}
	return vars
}

// Unused lists the trainable variables that the loss of the last step did not
// depend on: a layer that was made and forgotten.
func (o *Optimizer) Unused() []*sinter.Variable { return slices.Clone(o.unused) }

// State lists everything that a checkpoint of the optimizer has to hold, named
// after the parameters: "out.weight.exp_avg". The values are those of now; State
// is to be called again for those of a later step. Gradients that are being
// accumulated are no part of it: a checkpoint belongs between two updates.
func (o *Optimizer) State() []*sinter.Variable {
	var counts []byte
	for _, n := range o.countList() {
		counts = binary.LittleEndian.AppendUint64(counts, uint64(*n))
	}
	must(o.counts.SetBytes(counts))
	must(o.factor.SetBytes(binary.LittleEndian.AppendUint64(nil, math.Float64bits(o.lrFactor))))
	vars := []*sinter.Variable{o.counts, o.factor}
	if s, ok := o.schedule.(stateful); ok {
		var data []byte
		for _, v := range s.state() {
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
		}
		must(o.memory.SetBytes(data))
		vars = append(vars, o.memory)
	}
	if s := o.scaler; s != nil && s.err == nil {
		vars = append(vars, s.scale, s.tracker)
	}
	slots := o.rule.Spec().Slots
	for i, p := range o.params {
		name := p.variable.Name
		if name == "" {
			name = strconv.Itoa(i)
		}
		for k, s := range p.slots {
			s.Name = name + "." + slots[k].Name
			vars = append(vars, s)
		}
	}
	return vars
}

// countList lists the counts that a checkpoint keeps.
func (o *Optimizer) countList() []*int {
	list := []*int{&o.steps}
	for _, p := range o.params {
		list = append(list, &p.steps)
	}
	if o.scaler != nil {
		list = append(list, &o.scaler.skipped)
	}
	return list
}

// must reports a write to host-sized state that cannot fail.
func must(err error) {
	if err != nil {
		panic("optim: " + err.Error())
	}
}

// LoadState sets the state to values that State gave, by name, in an optimizer of
// the same rule and an equal model. An error names the first value that is missing,
// unknown or of another shape or type; nothing has been changed then. What has been
// accumulated for the next update is forgotten.
func (o *Optimizer) LoadState(values map[string]*sinter.Tensor) error {
	vars := o.State()
	data := make(map[string][]byte, len(vars))
	for _, v := range vars {
		t, ok := values[v.Name]
		if !ok {
			return fmt.Errorf("optim: the state has no %s; was it saved by another rule or model?", v.Name)
		}
		if t.DType() != v.DType() || !slices.Equal(t.Shape(), v.Shape()) {
			return fmt.Errorf("optim: %s is %v %v in the state and %v %v here", v.Name, t.DType(), t.Shape(), v.DType(), v.Shape())
		}
		b, err := t.Bytes()
		if err != nil {
			return fmt.Errorf("optim: reading %s: %w", v.Name, err)
		}
		data[v.Name] = b
	}
	for name := range values {
		if _, ok := data[name]; !ok {
			return fmt.Errorf("optim: the state has %s, which this rule and model do not", name)
		}
	}
	if err := o.ZeroGrad(); err != nil {
		return err
	}
	for _, v := range vars {
		if err := v.SetBytes(data[v.Name]); err != nil {
			return fmt.Errorf("optim: setting %s: %w", v.Name, err)
		}
	}
	o.lrFactor = math.Float64frombits(words(data[o.factor.Name])[0])
	counts := words(data[o.counts.Name])
	for i, n := range o.countList() {
		*n = int(counts[i])
	}
	if s := o.scaler; s != nil && s.err == nil {
		s.now = s.scale.Value().Float()
	}
	if s, ok := o.schedule.(stateful); ok {
		var memory []float64
		for _, w := range words(data[o.memory.Name]) {
			memory = append(memory, math.Float64frombits(w))
		}
		s.setState(memory)
	}
	return nil
}

// words reads little-endian 64-bit numbers.
func words(b []byte) []uint64 {
	var w []uint64
	for ; len(b) > 0; b = b[8:] {
		w = append(w, binary.LittleEndian.Uint64(b))
	}
	return w
}
