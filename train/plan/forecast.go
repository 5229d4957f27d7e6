package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
)

// Forecast is what a run takes on a device. Bytes of Memory are exact but for Driver;
// everything else is estimated.
type Forecast struct {
	Device    string `json:"device"`
	Name      string `json:"name"`
	Precision string `json:"precision"` // that was asked for
	Computed  string `json:"computed"`  // what products are computed in
	Batch     int    `json:"batch"`     // examples at a time
	// Accumulate is the batches that make a step.
	Accumulate int    `json:"accumulate"`
	Memory     Memory `json:"memory"`
	Fits       bool   `json:"fits"`
	// Largest is the largest batch that fits; 0: none does, or it was not looked for. It was
	// planned if it is Exact, else it is on a line through two plans. Limited says that it is
	// all examples there are.
	Largest int  `json:"largest_batch"`
	Exact   bool `json:"largest_batch_is_exact"`
	Limited bool `json:"largest_batch_is_all_examples,omitempty"`

	FLOPs    float64 `json:"flops_per_step"`
	Traffic  float64 `json:"bytes_per_step"`
	Kernels  int     `json:"kernels_per_step"`
	StepTime Time    `json:"step"`
	// Step is the seconds of a step, of which Host is the program's own and Waiting is for
	// batches that are read more slowly than they are computed with. 0: not known.
	Step             float64 `json:"seconds_per_step"`
	Host             float64 `json:"host_seconds_per_step"`
	Waiting          float64 `json:"waiting_seconds_per_step"`
	Evaluation       float64 `json:"seconds_per_evaluation"`
	Seconds          float64 `json:"seconds"` // of the whole run; 0: not known
	SamplesPerSecond float64 `json:"samples_per_second"`

	train.Counts

	Watts float64 `json:"watts"` // of the device, in the mean; 0: not known
	// Usage is the energy of the device, without the machine around it, and what follows from
	// it. Cost is of its hours, if there is an Offer for it, else of the energy.
	Usage power.Usage  `json:"usage"`
	Offer *power.Offer `json:"offer,omitempty"`

	Slices   []Fit    `json:"slices,omitempty"` // of the card that hold the run
	Over     []string `json:"over,omitempty"`   // limits that it does not keep: deadline, budget, memory
	Cheapest bool     `json:"cheapest,omitempty"`
	Notes    []string `json:"notes,omitempty"`

	// Estimated says that times and what follows from them are of a model. It is always true.
	Estimated bool `json:"estimated"`
	// Basis says what time is estimated from.
	Basis string `json:"basis"`
}

// Terms are what a forecast is priced at.
type Terms struct {
	Rates  power.Rates   // region, PUE, tariff; its Device is not looked at
	Prices *power.Prices // hourly rates by device; nil: none
	From   time.Time     // when the run begins; zero: now
}

// Forecast is what the run takes on a device, with batches of so many examples; 0 stands
// for the Trainer's.
func (p *Planner) Forecast(d Device, batch int, terms Terms) (*Forecast, error) {
	on, err := d.target()
	if err != nil {
		return nil, err
	}
	s, err := p.steps.Plan(on, batch)
	if err != nil {
		return nil, err
	}
	t := p.trainer
	f := &Forecast{
		Device: d.Key, Name: d.Name, Precision: t.Precision.String(), Batch: s.Batch, Accumulate: s.Accumulate,
		Memory: d.memory(&s), Counts: p.steps.Counts(p.set, s.Batch), Estimated: true,
	}
	f.Fits = f.Memory.Fits()
	f.Computed, f.Notes = computed(d, on, t.Precision)
	k := float64(s.Accumulate)
	f.FLOPs, f.Traffic, f.Kernels = k*float64(s.Step.FLOPs), k*float64(s.Step.Traffic)+float64(s.Update), s.Accumulate*s.Step.Kernels
	p.time(f, d, &s)
	f.Slices = d.Slices(f.Memory.Total - f.Memory.Driver)
	if err := f.price(d, terms); err != nil {
		return nil, err
	}
	return f, nil
}

// time fills in how long the run takes.
func (p *Planner) time(f *Forecast, d Device, s *train.StepPlan) {
	var of func(costs []sinter.KernelCost, launches int) Time
	host := 0.0
	switch {
	case d.Card != nil:
		of = func(costs []sinter.KernelCost, launches int) Time { return roofline(d.Card, costs, launches) }
		host = hostSeconds
		f.Basis = "the figures of the vendor's sheet (" + d.Card.Source + ") and efficiencies that were not measured on this card"
	case d.Processor != nil:
		of = func(costs []sinter.KernelCost, _ int) Time { return d.Processor.Time(costs) }
		host = d.Processor.Host
		f.Basis = d.Processor.String()
	default:
		if d.here {
			f.Notes = append(f.Notes, "how fast "+d.Name+" is, is not in the catalogue")
		} else {
			f.Notes = append(f.Notes, "how fast this processor is has not been measured; 'sinter plan' does so")
		}
		return
	}
	f.StepTime.add(of(s.Step.Costs, s.Step.Launches), float64(s.Accumulate))
	if s.Update > 0 {
		update := of([]sinter.KernelCost{{Kind: "multi", Times: 1, Read: s.Update / 2, Written: s.Update / 2, Work: s.Update, Parts: 8, Rows: int(s.Update / 8), Width: 1}}, 3)
		f.StepTime.add(update, 1)
	}
	f.Host = host * float64(s.Accumulate)
	busy := f.StepTime.Sum()
	if d.Card == nil {
		f.Step = busy + f.Host
	} else {
		f.Step = max(busy, f.Host) // the host works while the queue runs
	}
	if reading := p.Reading * float64(s.Batch*s.Accumulate) / float64(max(1, p.steps.Batch())); reading > f.Step {
		f.Waiting = reading - f.Step
		f.Step = reading
	}
	if s.Evaluate != nil {
		once := of(s.Evaluate.Costs, s.Evaluate.Launches).Sum() + host
		f.Evaluation = float64(f.TestBatches) * max(once, p.Reading*float64(s.Batch)/float64(max(1, p.steps.Batch())))
	}
	f.SamplesPerSecond = float64(s.Batch*s.Accumulate) / f.Step
	if f.Steps > 0 {
		// The last batch of an epoch is a smaller one.
		whole := float64(f.Samples) / float64(s.Batch*s.Accumulate)
		f.Seconds = whole*f.Step + float64(f.Evaluations)*f.Evaluation
	} else {
		f.Notes = append(f.Notes, "how many examples the stream has is not known, and so neither is the whole time; give steps")
	}
	if d.Card != nil {
		f.Watts = d.Card.Idle + (d.Card.Power-d.Card.Idle)*f.load()
	} else if d.Power > 0 {
		f.Watts = d.Idle + (d.Power-d.Idle)*d.Processor.share()
	}
}

// hostSeconds is what a step takes on the host beside a card: binding, one launch of a graph,
// reading the loss. It is an estimate.
const hostSeconds = 100e-6

// What of its power above idle a card draws while it calculates, moves memory or starts
// kernels. Estimates: products run into the power limit, and copies draw about two thirds.
const (
	drawCompute = 1.0
	drawMemory  = 0.65
	drawLaunch  = 0.2
)

// load is the mean of those over a step.
func (f *Forecast) load() float64 {
	t := f.StepTime
	return (drawCompute*t.Compute + drawMemory*t.Memory + drawLaunch*t.Launch) / math.Max(f.Step, t.Sum())
}

// computed is what products are computed in where a precision is asked for, and what a user
// has to know of that.
func computed(d Device, on *sinter.Target, asked sinter.Precision) (string, []string) {
	got := on.Computed(asked)
	var notes []string
	if got != asked {
		notes = append(notes, fmt.Sprintf("%v is computed in %v", asked, got))
	}
	if d.Card == nil || got == sinter.FP32 {
		return got.String(), notes
	}
	name := got.String()
	_, has := d.Card.Peak[name]
	switch {
	case d.Card.Capability == 0:
		notes = append(notes, fmt.Sprintf("products of %s are calculated in float32: OpenCL reaches no matrix units", name))
		return name + " in fp32", notes
	case !has:
		notes = append(notes, fmt.Sprintf("the card has no units for %s: numbers are kept in it, and products calculated in float32", name))
		if _, other := d.Card.Peak["fp16"]; other && name == "bf16" {
			notes[len(notes)-1] += "; it has units for fp16"
		}
		return name + " in fp32", notes
	}
	return name, notes
}

// price fills in energy, carbon and cost.
func (f *Forecast) price(d Device, terms Terms) error {
	if f.Seconds == 0 {
		return nil
	}
	r := terms.Rates
	r.Device = power.Money{}
	if terms.Prices != nil {
		if offers := terms.Prices.Of(d.Key); len(offers) > 0 {
			f.Offer = &offers[0]
			r.Device = offers[0].Rate()
			r.Tariff = power.Tariff{} // who rents pays no energy
		}
	}
	if err := r.Check(); err != nil {
		return err
	}
	from := terms.From
	if from.IsZero() {
		from = time.Now()
	}
	var parts []power.Part
	idle := 0.0
	if f.Watts > 0 {
		idle = d.Idle
		if d.Card != nil {
			idle = d.Card.Idle
		}
		parts = []power.Part{{Component: d.Key, Joules: f.Watts * f.Seconds, Source: "model: idle and full power, by what kernels wait for", Estimated: true}}
	} else {
		f.Notes = append(f.Notes, "the power of this device is not known, and so neither are energy and carbon")
	}
	f.Usage = r.Usage(parts, idle, from, from.Add(time.Duration(f.Seconds*float64(time.Second))))
	f.Usage.Estimated = true
	return nil
}

// Choice is the forecasts of several devices under limits.
type Choice struct {
	Forecasts []*Forecast `json:"forecasts"`
	// Cheapest keeps every limit at the least cost; nil if none does, or nothing has a price.
	// Fastest is the fastest of all that hold the run.
	Cheapest *Forecast `json:"-"`
	Fastest  *Forecast `json:"-"`
	Verdict  string    `json:"verdict"` // that, in a sentence
	Notes    []string  `json:"notes,omitempty"`
}

// Limits are what a plan has to keep; zero is none.
type Limits struct {
	Deadline time.Duration
	Budget   power.Budget
}

// Choose names the cheapest forecast that keeps the limits. A budget in a currency that the
// prices are not in is an error.
func Choose(list []*Forecast, l Limits) (*Choice, error) {
	c := &Choice{Forecasts: list}
	priced := false
	for _, f := range list {
		if !f.Fits {
			f.Over = append(f.Over, "memory")
			continue
		}
		if f.Seconds == 0 {
			continue
		}
		if c.Fastest == nil || f.Seconds < c.Fastest.Seconds {
			c.Fastest = f
		}
		if l.Deadline > 0 && f.Seconds > l.Deadline.Seconds() {
			f.Over = append(f.Over, "deadline")
		}
		if cost, money := f.Usage.Cost, l.Budget.Money; money != nil && !cost.IsZero() && cost.Currency != money.Currency {
			return nil, fmt.Errorf("the budget is %v and prices are in %s: %w", *money, cost.Currency, &power.CurrencyError{A: *money, B: cost})
		}
		for _, a := range l.Budget.Left(f.Usage) {
			if a.Left() < 0 {
				f.Over = append(f.Over, "budget of "+a.What)
			}
		}
		priced = priced || !f.Usage.Cost.IsZero()
		if len(f.Over) > 0 || f.Usage.Cost.IsZero() {
			continue
		}
		if best := c.Cheapest; best == nil || f.Usage.Cost.Currency == best.Usage.Cost.Currency && f.Usage.Cost.Amount < best.Usage.Cost.Amount {
			c.Cheapest = f
		}
	}
	if c.Cheapest != nil {
		c.Cheapest.Cheapest = true
	}
	c.Verdict = c.verdict(l, priced)
	return c, nil
}

func (c *Choice) verdict(l Limits, priced bool) string {
	limits := ""
	if l.Deadline > 0 {
		limits = " under a deadline of " + short(l.Deadline)
	}
	if !l.Budget.IsZero() {
		limits += " within " + l.Budget.String()
	}
	took := func(f *Forecast) string { return short(time.Duration(f.Seconds * float64(time.Second))) }
	within := slices.ContainsFunc(c.Forecasts, func(f *Forecast) bool { return len(f.Over) == 0 && f.Seconds > 0 })
	switch {
	case c.Fastest == nil:
		return "none of these devices holds the run"
	case c.Cheapest != nil:
		spot := ""
		if o := c.Cheapest.Offer; o != nil && o.Spot {
			spot = ", at a spot price: the device may be taken away"
		}
		return fmt.Sprintf("cheapest%s: %s, %v in %s (estimated)%s", limits, c.Cheapest.Device, c.Cheapest.Usage.Cost, took(c.Cheapest), spot)
	case !within && limits != "":
		cost := ""
		if !c.Fastest.Usage.Cost.IsZero() {
			cost = " for " + c.Fastest.Usage.Cost.String()
		}
		return fmt.Sprintf("nothing finishes%s; the fastest is %s, in %s%s (estimated)", limits, c.Fastest.Device, took(c.Fastest), cost)
	case !priced:
		return fmt.Sprintf("fastest: %s, in %s (estimated); with --prices, or a tariff, the cheapest is named", c.Fastest.Device, took(c.Fastest))
	}
	return fmt.Sprintf("fastest: %s, in %s (estimated)", c.Fastest.Device, took(c.Fastest))
}

// short writes a time as people do.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

// Sort puts forecasts in the order of their time, those that do not fit last.
func Sort(list []*Forecast) {
	slices.SortStableFunc(list, func(a, b *Forecast) int {
		if a.Fits != b.Fits {
			if a.Fits {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Seconds, b.Seconds)
	})
}
