package queue

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/schedule"
)

// World is all that decisions follow from.
type World struct {
	Now     time.Time
	Jobs    []Job // in the order of their IDs
	Devices []Device
	Series  Series
}

// Plan is what is to be done now.
type Plan struct {
	Start []Start
	Pause []Pause      // running jobs that are to write a checkpoint and end
	Waits map[int]Wait // what each job waits for that has not ended and is not to run now
	Next  time.Time    // when to decide again if nothing else happens; zero: no time is known
}

// Start is a job that is to run now, on a device.
type Start struct {
	Job    int
	Device string
}

// Pause is a job that is to stop for now, and why.
type Pause struct {
	Job    int
	Reason string
}

// Cause is what a job waits for.
type Cause int

// The causes, in the order in which they are looked at.
const (
	ForRelease  Cause = iota // it is held
	ForEarliest              // its earliest start
	ForRetry                 // the time after a failure
	ForWindow                // its window
	ForHours                 // cheap or green hours
	ForSeries                // a file that tells of the coming hours
	ForMachine               // a device that the machine has not got
	ForDevice                // a device that another job has
	ForEnd                   // its own process, that is about to end
	ForStart                 // nothing: it starts as soon as a daemon runs
)

// Wait is what a job waits for.
type Wait struct {
	Cause   Cause
	Until   time.Time // when that is over; zero: not known
	Device  string    // ForDevice: the one that is free first
	Holder  int       // and the job that has it
	Choice  []schedule.Interval
	Mean    float64 // of the series over the choice
	Err     error   // ForSeries
	Problem string  // ForMachine: why not
}

// patience is how long a job without a deadline stands behind those that have one: it
// counts as due that long after it was added. Later jobs of its priority overtake it only
// if they are due before that, so none is overtaken for ever.
const patience = 7 * 24 * time.Hour

func (j *Job) due() time.Time {
	if j.Deadline.IsZero() {
		return j.Added.Add(patience)
	}
	return j.Deadline
}

// order puts jobs into the order in which they are to run: by priority, then by when they
// are due, then by age.
func order(a, b *Job) int {
	return cmp.Or(-cmp.Compare(a.Priority, b.Priority), a.due().Compare(b.due()), cmp.Compare(a.ID, b.ID))
}

// Decide says which jobs are to start and which to pause, and what the others wait for.
//
// A job runs to its end once it has started, unless its window closes, its cheap or green
// hours are over, or it is told to pause: others never push it out, whatever their
// priority. On each device there is one job at a time.
func Decide(w World) Plan {
	p := Plan{Waits: map[int]Wait{}}
	again := func(t time.Time) {
		if t.After(w.Now) && (p.Next.IsZero() || t.Before(p.Next)) {
			p.Next = t
		}
	}
	holder := map[string]*Job{} // of a unit
	unit := func(name string) string {
		for _, d := range w.Devices {
			if d.Name == name {
				return d.unit()
			}
		}
		return name
	}
	var ready []*Job
	for i := range w.Jobs {
		j := &w.Jobs[i]
		if j.State.Ended() {
			continue
		}
		if j.State.Live() {
			holder[unit(j.Device)] = j
		}
		if j.State == Pausing {
			p.Waits[j.ID] = Wait{Cause: ForEnd, Until: j.Told.Add(j.Grace)}
			again(j.Told.Add(j.Grace))
			continue
		}
		wait, until := j.blocked(&w)
		again(until)
		switch {
		case wait == nil && j.State != Running:
			ready = append(ready, j)
		case wait != nil && j.State == Running:
			p.Pause = append(p.Pause, Pause{j.ID, j.pauseReason(*wait)})
		case wait != nil:
			p.Waits[j.ID] = *wait
		}
	}
	slices.SortFunc(ready, order)
	for i, j := range ready {
		free, wait := j.device(&w, holder, ready[i+1:])
		if wait != nil {
			p.Waits[j.ID] = *wait
			continue
		}
		holder[unit(free)] = j
		p.Start = append(p.Start, Start{j.ID, free})
	}
	return p
}

// blocked tells why the job may not run now, whatever devices there are; nil if it may.
// Until is when that changes by itself: when it may run, or may no longer.
func (j *Job) blocked(w *World) (wait *Wait, until time.Time) {
	switch {
	case j.Hold != "" || j.Cancel:
		return &Wait{Cause: ForRelease}, time.Time{}
	case j.Now:
		return nil, time.Time{}
	case w.Now.Before(j.Earliest):
		return &Wait{Cause: ForEarliest, Until: j.Earliest}, j.Earliest
	case w.Now.Before(j.NotBefore):
		return &Wait{Cause: ForRetry, Until: j.NotBefore}, j.NotBefore
	}
	if !j.Window.IsZero() {
		open := j.Window.Next(w.Now)
		if !open.Contains(w.Now) {
			return &Wait{Cause: ForWindow, Until: open.From}, open.From
		}
		until = open.To
	}
	if j.Cheap == "" && j.Green == "" {
		return nil, until
	}
	wait, change := j.hours(w)
	if until.IsZero() || !change.IsZero() && change.Before(until) {
		until = change
	}
	return wait, until
}

// hours is blocked for the choice of cheap or green hours. They are chosen anew each
// time, for what is left of the job: an hour that was missed because no device was free
// is made up for by the next best. A job that takes longer than was estimated runs on. For
// one that takes longer than the series covers, an hour is good if it is no worse than the
// mean of the series.
func (j *Job) hours(w *World) (wait *Wait, until time.Time) {
	left := j.Remaining(w.Now)
	if left == 0 {
		return nil, time.Time{}
	}
	want := schedule.Want{Length: left, Between: schedule.Interval{From: w.Now, To: j.Deadline}, Window: j.Window, Pieces: true}
	if !j.Deadline.IsZero() {
		var open time.Duration
		for _, o := range j.Window.Between(w.Now, j.Deadline) {
			open += o.Length()
		}
		if open <= left { // there is no choice left
			return nil, time.Time{}
		}
	}
	file, choose := j.Cheap, schedule.Cheapest
	if j.Green != "" {
		file, choose = j.Green, schedule.Greenest
	}
	f := w.Series[file]
	err := f.Err
	if err == nil && f.Series == nil {
		err = errors.New("it has not been read")
	}
	var choice schedule.Choice
	if err == nil {
		choice, err = choose(f.Series, want)
	}
	latest := time.Time{} // by which it runs in any case
	if !j.Deadline.IsZero() {
		latest = j.latest(w.Now)
	}
	var short *schedule.ShortError
	if errors.As(err, &short) && short.Open > 0 {
		choice, err = fair(&short.Want, f.Series, err)
	}
	if err != nil {
		return &Wait{Cause: ForSeries, Until: latest, Err: err}, latest
	}
	first := choice.Intervals[0]
	if first.Contains(w.Now) {
		return nil, first.To
	}
	until = first.From
	if !latest.IsZero() && latest.Before(until) {
		until = latest
	}
	return &Wait{Cause: ForHours, Until: first.From, Choice: choice.Intervals, Mean: choice.Mean}, until
}

// fair is the choice for a job that is longer than what the series tells of: the coming
// hours that are no worse than its mean. The error is given back if there are none.
func fair(want *schedule.Want, s *power.Series, none error) (schedule.Choice, error) {
	var c schedule.Choice
	mean := s.Overall()
	for t, v := range s.All() {
		end := t.Add(s.Step())
		if v > mean || !end.After(want.Between.From) {
			continue
		}
		if t.Before(want.Between.From) {
			t = want.Between.From
		}
		for _, o := range want.Window.Between(t, end) {
			if n := len(c.Intervals); n > 0 && c.Intervals[n-1].To.Equal(o.From) {
				c.Intervals[n-1].To = o.To
			} else {
				c.Intervals = append(c.Intervals, o)
			}
		}
	}
	if c.Intervals == nil {
		return c, none
	}
	var sum, hours float64
	for _, i := range c.Intervals {
		v, err := s.Integrate(i.From, i.To)
		if err != nil {
			return c, err
		}
		sum, hours = sum+v, hours+i.Length().Hours()
	}
	c.Mean = sum / hours
	return c, nil
}

// latest is when the job has to run, so as to be done by its deadline: as much of the
// window is open after that as it takes. It is in the past if that is too late.
func (j *Job) latest(now time.Time) time.Time {
	left := j.Remaining(now)
	open := j.Window.Between(now, j.Deadline)
	for _, o := range slices.Backward(open) {
		if o.Length() >= left {
			return o.To.Add(-left)
		}
		left -= o.Length()
	}
	return now.Add(-left)
}

// device chooses a free device for the job: of those that suit, one that the fewest of
// the others wait for, then the smallest. If none is free, it tells what the job waits
// for.
func (j *Job) device(w *World, holder map[string]*Job, others []*Job) (name string, wait *Wait) {
	var best *Device
	var crowd int
	var first *Wait
	for i := range w.Devices {
		d := &w.Devices[i]
		if !j.suits(*d) {
			continue
		}
		if h := holder[d.unit()]; h != nil {
			until := h.ends(w)
			if first == nil || !until.IsZero() && (first.Until.IsZero() || until.Before(first.Until)) {
				first = &Wait{Cause: ForDevice, Device: d.Name, Holder: h.ID, Until: until}
			}
			continue
		}
		n := 0
		for _, o := range others {
			if len(o.Devices)+len(o.Slice) > 0 && o.suits(*d) {
				n++
			}
		}
		if best == nil || n < crowd || n == crowd && d.Memory < best.Memory {
			best, crowd = d, n
		}
	}
	switch {
	case best != nil:
		return best.Name, nil
	case first != nil:
		return "", first
	}
	return "", &Wait{Cause: ForMachine, Problem: j.unsuited(w.Devices)}
}

// ends is when a job that runs, or is to start now, will leave its device; zero if that
// is not known.
func (j *Job) ends(w *World) time.Time {
	_, until := j.blocked(w)
	if left := j.Remaining(w.Now); left > 0 {
		if t := w.Now.Add(left); until.IsZero() || t.Before(until) {
			until = t
		}
	}
	return until
}
