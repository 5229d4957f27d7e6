package optim

import (
	"math"

	"github.com/sinter-dl/sinter"
)

// Rule is an update rule: a struct of hyperparameters that an [Optimizer] applies
// to every parameter. Its methods only build graphs and compute scalars; all
// state is the optimizer's. Own rules can be written outside of this package.
type Rule interface {
	// Spec says what the rule needs. It must not change during a run.
	Spec() Spec
	// Scalars appends to dst numbers that depend on the count of updates a parameter has
	// had, this one included (so 1 is the first): bias corrections and the like. They
	// reach the program as data, so that a new step compiles nothing.
	Scalars(dst []float64, step int) []float64
	// Update sets u.Param and u.Slots to their new values, which must follow from u
	// alone: it is called when an update is first recorded and not at every step.
	Update(u *Update)
}

// Spec describes a rule.
type Spec struct {
	LR          Schedule
	WeightDecay float64
	Slots       []Slot // state by parameter, of the parameter's shape
}

// Slot is a piece of state that a rule keeps for every parameter.
type Slot struct {
	Name string
	Init float64
}

// Update is one parameter on its way through a rule.
type Update struct {
	Param, Grad *sinter.Tensor   // at least float32
	Slots       []*sinter.Tensor // in the order of Spec.Slots
	LR          *sinter.Tensor   // scalar
	Scalars     []*sinter.Tensor // what Rule.Scalars gave
	WeightDecay float64          // of the parameter's group
}

// coupleDecay adds the decay to the gradient, as L2 regularisation.
func (u *Update) coupleDecay() {
	if u.WeightDecay != 0 {
		u.Grad = u.Grad.Add(u.Param.MulScalar(u.WeightDecay))
	}
}

// decoupleDecay shrinks the parameter by LR·WeightDecay. Loshchilov and Hutter,
// "Decoupled weight decay regularization", 2019.
func (u *Update) decoupleDecay() {
	if u.WeightDecay != 0 {
		u.Param = u.Param.Sub(u.Param.Mul(u.LR.MulScalar(u.WeightDecay)))
	}
}

// average moves slot i towards x: beta·slot + (1−beta)·x.
func (u *Update) average(i int, beta float64, x *sinter.Tensor) *sinter.Tensor {
	u.Slots[i] = u.Slots[i].MulScalar(beta).Add(x.MulScalar(1 - beta))
	return u.Slots[i]
}

// descend subtracts LR·direction.
func (u *Update) descend(direction *sinter.Tensor) { u.Param = u.Param.Sub(direction.Mul(u.LR)) }

// schedule is the rule's LR, or a constant.
func schedule(s Schedule, standard float64) Schedule {
	if s == nil {
		return Constant(standard)
	}
	return s
}

// SGD is stochastic gradient descent with momentum as PyTorch defines it: the
// velocity is Momentum·velocity + (1−Dampening)·gradient, at the first step the
// gradient itself, and the parameter moves by LR·velocity.
type SGD struct {
	LR          Schedule // nil: 1e-3
	Momentum    float64
	Dampening   float64
	WeightDecay float64 // added to the gradient
	Nesterov    bool
}

// Spec is what the rule needs.
func (r SGD) Spec() Spec {
	s := Spec{LR: schedule(r.LR, 1e-3), WeightDecay: r.WeightDecay}
	if r.Momentum != 0 {
		s.Slots = []Slot{{Name: "momentum_buffer"}}
	}
	return s
}

// Scalars is the gradient's share of the velocity.
func (r SGD) Scalars(dst []float64, step int) []float64 {
	if r.Momentum == 0 || r.Dampening == 0 {
		return dst
	}
	if step == 1 {
		return append(dst, 1)
	}
	return append(dst, 1-r.Dampening)
}

// Update moves a parameter.
func (r SGD) Update(u *Update) {
	u.coupleDecay()
	if r.Momentum == 0 {
		u.descend(u.Grad)
		return
	}
	g := u.Grad
	if r.Dampening != 0 {
		g = g.Mul(u.Scalars[0])
	}
	v := u.Slots[0].MulScalar(r.Momentum).Add(g)
	u.Slots[0] = v
	if r.Nesterov {
		v = u.Grad.Add(v.MulScalar(r.Momentum))
	}
	u.descend(v)
}

// Adam adapts the step of every element to its gradients' mean and mean square.
// Kingma and Ba, 2015. Zeros stand for PyTorch's LR 1e-3, Betas 0.9 and 0.999, Eps
// 1e-8.
type Adam struct {
	LR          Schedule
	Betas       [2]float64
	Eps         float64
	WeightDecay float64 // added to the gradient
	AMSGrad     bool    // divide by the largest mean square so far. Reddi et al., 2018
}

// AdamW is Adam with decoupled weight decay. Unlike PyTorch's, whose decay is 0.01
// if nothing is said, it decays only by what is asked for.
type AdamW struct {
	LR          Schedule
	Betas       [2]float64
	Eps         float64
	WeightDecay float64 // shrinks the parameter by LR·WeightDecay
	AMSGrad     bool
}

func betas(b [2]float64, second float64) [2]float64 {
	if b == [2]float64{} {
		return [2]float64{0.9, second}
	}
	return b
}

// Spec is what the rule needs.
func (r Adam) Spec() Spec {
	s := Spec{LR: schedule(r.LR, 1e-3), WeightDecay: r.WeightDecay, Slots: []Slot{{Name: "exp_avg"}, {Name: "exp_avg_sq"}}}
	if r.AMSGrad {
		s.Slots = append(s.Slots, Slot{Name: "max_exp_avg_sq"})
	}
	return s
}

// Scalars are the corrections of the means' bias towards their initial zeros:
// 1/(1−β₁ᵗ) and 1/√(1−β₂ᵗ).
func (r Adam) Scalars(dst []float64, step int) []float64 {
	b := betas(r.Betas, 0.999)
	t := float64(step)
	return append(dst, 1/(1-math.Pow(b[0], t)), 1/math.Sqrt(1-math.Pow(b[1], t)))
}

// Update moves a parameter.
func (r Adam) Update(u *Update) {
	u.coupleDecay()
	r.move(u)
}

func (r Adam) move(u *Update) {
	b := betas(r.Betas, 0.999)
	mean := u.average(0, b[0], u.Grad)
	square := u.average(1, b[1], u.Grad.Square())
	if r.AMSGrad {
		square = u.Slots[2].Maximum(square)
		u.Slots[2] = square
	}
	denominator := square.Sqrt().Mul(u.Scalars[1]).AddScalar(or(r.Eps, 1e-8))
	// The rate and the correction are multiplied first: one scalar instead of a
	// product per element.
	u.Param = u.Param.Sub(mean.Mul(u.LR.Mul(u.Scalars[0])).Div(denominator))
}

// Spec is what the rule needs.
func (r AdamW) Spec() Spec { return Adam(r).Spec() }

// Scalars are those of [Adam].
func (r AdamW) Scalars(dst []float64, step int) []float64 { return Adam(r).Scalars(dst, step) }

// Update moves a parameter.
func (r AdamW) Update(u *Update) {
	u.decoupleDecay()
	Adam(r).move(u)
}

// RMSprop divides the gradient by the root of its mean square. Tieleman and
// Hinton, 2012. Zeros stand for PyTorch's LR 1e-2, Alpha 0.99, Eps 1e-8.
type RMSprop struct {
	LR          Schedule
	Alpha       float64
	Eps         float64
	WeightDecay float64 // added to the gradient
	Momentum    float64
	Centered    bool // divide by the deviation from the mean gradient
}

// Spec is what the rule needs.
func (r RMSprop) Spec() Spec {
	s := Spec{LR: schedule(r.LR, 1e-2), WeightDecay: r.WeightDecay, Slots: []Slot{{Name: "square_avg"}}}
	if r.Momentum != 0 {
		s.Slots = append(s.Slots, Slot{Name: "momentum_buffer"})
	}
	if r.Centered {
		s.Slots = append(s.Slots, Slot{Name: "grad_avg"})
	}
	return s
}

// Scalars is empty: nothing depends on the step.
func (r RMSprop) Scalars(dst []float64, _ int) []float64 { return dst }

// Update moves a parameter.
func (r RMSprop) Update(u *Update) {
	u.coupleDecay()
	alpha := or(r.Alpha, 0.99)
	square := u.average(0, alpha, u.Grad.Square())
	if r.Centered {
		mean := u.average(len(u.Slots)-1, alpha, u.Grad)
		square = square.Sub(mean.Square())
	}
	direction := u.Grad.Div(square.Sqrt().AddScalar(or(r.Eps, 1e-8)))
	if r.Momentum != 0 {
		direction = u.Slots[1].MulScalar(r.Momentum).Add(direction)
		u.Slots[1] = direction
	}
	u.descend(direction)
}

// Adagrad divides the gradient by the root of the sum of all its squares. Duchi et
// al., 2011. Zeros stand for PyTorch's LR 1e-2, Eps 1e-10.
type Adagrad struct {
	LR                      Schedule
	LRDecay                 float64 // the rate is divided by 1 + (step−1)·LRDecay
	WeightDecay             float64 // added to the gradient
	InitialAccumulatorValue float64
	Eps                     float64
}

// Spec is what the rule needs.
func (r Adagrad) Spec() Spec {
	return Spec{LR: schedule(r.LR, 1e-2), WeightDecay: r.WeightDecay, Slots: []Slot{{"sum", r.InitialAccumulatorValue}}}
}

// Scalars is the decay of the rate.
func (r Adagrad) Scalars(dst []float64, step int) []float64 {
	if r.LRDecay == 0 {
		return dst
	}
	return append(dst, 1/(1+float64(step-1)*r.LRDecay))
}

// Update moves a parameter.
func (r Adagrad) Update(u *Update) {
	u.coupleDecay()
	sum := u.Slots[0].Add(u.Grad.Square())
	u.Slots[0] = sum
	if r.LRDecay != 0 {
		u.LR = u.LR.Mul(u.Scalars[0])
	}
	u.descend(u.Grad.Div(sum.Sqrt().AddScalar(or(r.Eps, 1e-10))))
}

// Lion moves by the sign of an averaged gradient: half of Adam's memory. Chen et
// al., "Symbolic discovery of optimization algorithms", 2023. Zeros stand for LR
// 1e-4, Betas 0.9 and 0.99.
type Lion struct {
	LR          Schedule
	Betas       [2]float64
	WeightDecay float64 // shrinks the parameter by LR·WeightDecay
}

// Spec is what the rule needs.
func (r Lion) Spec() Spec {
	return Spec{LR: schedule(r.LR, 1e-4), WeightDecay: r.WeightDecay, Slots: []Slot{{Name: "exp_avg"}}}
}

// Scalars is empty: nothing depends on the step.
func (r Lion) Scalars(dst []float64, _ int) []float64 { return dst }

// Update moves a parameter.
func (r Lion) Update(u *Update) {
	u.decoupleDecay()
	b := betas(r.Betas, 0.99)
	direction := u.Slots[0].MulScalar(b[0]).Add(u.Grad.MulScalar(1 - b[0])).Sign()
	u.average(0, b[1], u.Grad)
	u.descend(direction)
}
