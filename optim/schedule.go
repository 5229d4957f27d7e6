package optim

import "math"

// Schedule gives the learning rate. Step is the number of updates made before, so
// the first update asks for At(0).
//
// Schedules are plain values without a clock of their own: asking twice gives the
// same, and a resumed run goes on where it was. The one that learns from the run,
// [ReduceOnPlateau], is a pointer and is told by Observe.
type Schedule interface {
	At(step int) float64
}

// Constant is one learning rate for the whole run.
type Constant float64

// At is c.
func (c Constant) At(int) float64 { return float64(c) }

// Func is any function of the step, PyTorch's LambdaLR.
type Func func(step int) float64

// At is f(step).
func (f Func) At(step int) float64 { return f(step) }

// Step multiplies by Gamma (0 stands for 0.1) every Every steps.
type Step struct {
	Initial float64
	Gamma   float64
	Every   int
}

// At is the rate of a step.
func (s Step) At(step int) float64 {
	return s.Initial * math.Pow(or(s.Gamma, 0.1), float64(step/max(s.Every, 1)))
}

// MultiStep multiplies by Gamma (0 stands for 0.1) at every one of the Milestones,
// which are steps.
type MultiStep struct {
	Initial    float64
	Gamma      float64
	Milestones []int
}

// At is the rate of a step.
func (s MultiStep) At(step int) float64 {
	lr := s.Initial
	for _, m := range s.Milestones {
		if step >= m {
			lr *= or(s.Gamma, 0.1)
		}
	}
	return lr
}

// Exponential multiplies by Gamma in the course of Every steps (0 stands for 1),
// smoothly.
type Exponential struct {
	Initial float64
	Gamma   float64
	Every   int
}

// At is the rate of a step.
func (s Exponential) At(step int) float64 {
	return s.Initial * math.Pow(s.Gamma, float64(step)/float64(max(s.Every, 1)))
}

// Cosine rises linearly to Peak in the first Warmup steps, the first of them at
// Peak/Warmup, and falls to Final along half a cosine, which it reaches at step
// Steps and keeps. Without Steps it stays at Peak; see [WithSteps]. Loshchilov and
// Hutter, "SGDR", 2017.
type Cosine struct {
	Peak   float64
	Warmup int
	Steps  int
	Final  float64
}

// At is the rate of a step.
func (s Cosine) At(step int) float64 {
	if step < s.Warmup {
		return s.Peak * float64(step+1) / float64(s.Warmup)
	}
	if s.Steps == 0 {
		return s.Peak
	}
	return cosine(s.Peak, s.Final, fraction(step-s.Warmup, s.Steps-s.Warmup))
}

// CosineRestarts falls from Peak to Final along half a cosine in Period steps and
// begins again; every period is Mult times as long as the one before (0 stands for
// 1). Loshchilov and Hutter, "SGDR", 2017.
type CosineRestarts struct {
	Peak   float64
	Final  float64
	Period int
	Mult   int
}

// At is the rate of a step.
func (s CosineRestarts) At(step int) float64 {
	period := max(s.Period, 1)
	if s.Mult <= 1 {
		return cosine(s.Peak, s.Final, fraction(step%period, period))
	}
	for step >= period {
		step -= period
		period *= s.Mult
	}
	return cosine(s.Peak, s.Final, fraction(step, period))
}

// OneCycle rises from Peak/DivFactor to Peak during the share PctStart of Steps and
// falls to Peak/DivFactor/FinalDivFactor, along cosines or, with Linear, along
// lines. Zeros stand for PyTorch's 0.3, 25 and 10,000. Smith and Topin, "Super
// convergence", 2018.
type OneCycle struct {
	Peak           float64
	Steps          int
	PctStart       float64
	DivFactor      float64
	FinalDivFactor float64
	Linear         bool
}

// At is the rate of a step.
func (s OneCycle) At(step int) float64 {
	anneal := cosine
	if s.Linear {
		anneal = line
	}
	first := s.Peak / or(s.DivFactor, 25)
	last := first / or(s.FinalDivFactor, 1e4)
	// The peak and the end are reached at the last step of each phase.
	top, end := or(s.PctStart, 0.3)*float64(s.Steps)-1, float64(s.Steps-1)
	if t := float64(step); t <= top && top > 0 { // one step of warm-up is at the peak
		return anneal(first, s.Peak, t/top)
	} else if t < end {
		return anneal(s.Peak, last, (t-top)/(end-top))
	}
	return last
}

// Linear goes from From to To along a line, reached at step Steps and kept.
type Linear struct {
	From, To float64
	Steps    int
}

// At is the rate of a step.
func (s Linear) At(step int) float64 { return line(s.From, s.To, fraction(step, s.Steps)) }

// Polynomial falls from Initial to Final by (1 − step/Steps) to the power Power (0
// stands for 1).
type Polynomial struct {
	Initial, Final float64
	Steps          int
	Power          float64
}

// At is the rate of a step.
func (s Polynomial) At(step int) float64 {
	left := math.Pow(1-fraction(step, s.Steps), or(s.Power, 1))
	return line(s.Final, s.Initial, left)
}

// Sequential follows one schedule after the other: Schedules[i+1] takes over at
// step Milestones[i] and counts its steps from there.
type Sequential struct {
	Schedules  []Schedule
	Milestones []int
}

// At is the rate of a step.
func (s Sequential) At(step int) float64 {
	current, start := 0, 0
	for i, m := range s.Milestones {
		if step >= m && i+1 < len(s.Schedules) {
			current, start = i+1, m
		}
	}
	return s.Schedules[current].At(step - start)
}

// WithSteps gives a schedule that was written without the length of the run
// (Cosine, OneCycle, Linear or Polynomial with Steps 0) that length. Others are
// returned as they are.
func WithSteps(s Schedule, total int) Schedule {
	switch s := s.(type) {
	case Cosine:
		s.Steps = orInt(s.Steps, total)
		return s
	case OneCycle:
		s.Steps = orInt(s.Steps, total)
		return s
	case Linear:
		s.Steps = orInt(s.Steps, total)
		return s
	case Polynomial:
		s.Steps = orInt(s.Steps, total)
		return s
	}
	return s
}

// ReduceOnPlateau multiplies the rate by Factor when a metric, reported by Observe
// (after an epoch, say), has not improved for more than Patience reports. Zeros
// stand for PyTorch's Factor 0.1, Patience 10, Threshold 1e-4.
type ReduceOnPlateau struct {
	Initial   float64
	Factor    float64
	Patience  int     // reports without improvement that are borne; NoPatience for none
	Threshold float64 // the least improvement, relative to the best
	Absolute  bool    // Threshold is absolute
	Cooldown  int     // reports to wait after a reduction
	Min       float64 // the rate does not fall below
	Max       bool    // larger is better, as for an accuracy

	started    bool
	best, rate float64
	bad, cool  int
}

// NoPatience is the Patience of 0, which the zero value cannot say.
const NoPatience = -1

// At is the present rate; the step does not matter.
func (s *ReduceOnPlateau) At(int) float64 {
	if !s.started {
		return s.Initial
	}
	return s.rate
}

// Observe reports the metric.
func (s *ReduceOnPlateau) Observe(metric float64) {
	if !s.started {
		s.started, s.rate, s.best = true, s.Initial, math.Inf(1)
		if s.Max {
			s.best = math.Inf(-1)
		}
	}
	if s.better(metric) {
		s.best, s.bad = metric, 0
	} else {
		s.bad++
	}
	if s.cool > 0 {
		s.cool--
		s.bad = 0
	}
	patience := orInt(s.Patience, 10)
	if s.bad > max(patience, 0) {
		// PyTorch's eps: a change this small is not made.
		if lower := max(s.rate*or(s.Factor, 0.1), s.Min); s.rate-lower > 1e-8 {
			s.rate = lower
		}
		s.cool, s.bad = s.Cooldown, 0
	}
}

func (s *ReduceOnPlateau) better(metric float64) bool {
	margin := or(s.Threshold, 1e-4)
	if !s.Absolute {
		// Nothing is compared with an infinite best, so the product may be.
		margin *= math.Abs(s.best)
	}
	if math.IsInf(s.best, 0) {
		margin = 0
	}
	if s.Max {
		return metric > s.best+margin
	}
	return metric < s.best-margin
}

// state and setState are what a checkpoint keeps.
func (s *ReduceOnPlateau) state() []float64 {
	started := 0.0
	if s.started {
		started = 1
	}
	return []float64{started, s.best, s.rate, float64(s.bad), float64(s.cool)}
}

func (s *ReduceOnPlateau) setState(v []float64) {
	s.started, s.best, s.rate, s.bad, s.cool = v[0] != 0, v[1], v[2], int(v[3]), int(v[4])
}

// fraction is the share of a way of n steps, between 0 and 1.
func fraction(step, n int) float64 {
	if n <= 0 {
		return 1
	}
	return min(float64(step)/float64(n), 1)
}

func cosine(from, to, share float64) float64 {
	return to + (from-to)*(1+math.Cos(math.Pi*share))/2
}

func line(from, to, share float64) float64 { return from + (to-from)*share }

func or(v, standard float64) float64 {
	if v == 0 {
		return standard
	}
	return v
}

func orInt(v, standard int) int {
	if v == 0 {
		return standard
	}
	return v
}

// WithSchedule is a rule with another learning rate.
func WithSchedule(r Rule, lr Schedule) Rule { return scheduled{r, lr} }

type scheduled struct {
	Rule
	lr Schedule
}

func (s scheduled) Spec() Spec {
	spec := s.Rule.Spec()
	spec.LR = s.lr
	return spec
}
