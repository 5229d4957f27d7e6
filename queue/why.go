package queue

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/internal/nearest"
)

// Why says in one sentence what a job waits for, or how it stands.
func Why(w World, id int) string {
	for i := range w.Jobs {
		if w.Jobs[i].ID == id {
			return why(w, Decide(w), &w.Jobs[i])
		}
	}
	return fmt.Sprintf("there is no job %d", id)
}

// Whys is Why for all jobs.
func Whys(w World) map[int]string {
	all := map[int]string{}
	p := Decide(w)
	for i := range w.Jobs {
		all[w.Jobs[i].ID] = why(w, p, &w.Jobs[i])
	}
	return all
}

func why(w World, p Plan, j *Job) string {
	switch j.State {
	case Done:
		return fmt.Sprintf("is done since %s; it ran for %s", when(j.Ended, w.Now), span(j.Ran))
	case Failed:
		return fmt.Sprintf("failed %s%s", when(j.Ended, w.Now), because(j.Reason))
	case Cancelled:
		return fmt.Sprintf("was cancelled %s%s", when(j.Ended, w.Now), because(j.Reason))
	case Pausing:
		return fmt.Sprintf("writes a checkpoint and stops%s; it is killed if it has not by %s", because(j.Reason), when(j.Told.Add(j.Grace), w.Now))
	}
	if j.Cancel {
		return "is about to be cancelled"
	}
	text := ""
	if wait, waits := p.Waits[j.ID]; waits {
		text = wait.sentence(w, j)
	} else if j.State == Running {
		text = j.runs(w)
		for _, pause := range p.Pause {
			if pause.Job == j.ID {
				text = "is about to pause: " + pause.Reason
			}
		}
	} else {
		text = "can start now"
		for _, s := range p.Start {
			if s.Job == j.ID {
				text += " on " + s.Device
			}
		}
	}
	return text + j.late(w, p)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// sentence is what the job waits for.
func (t Wait) sentence(w World, j *Job) string {
	in := func() string { return fmt.Sprintf("in %s (%s)", span(t.Until.Sub(w.Now)), when(t.Until, w.Now)) }
	switch t.Cause {
	case ForRelease:
		return fmt.Sprintf("is held%s; 'sinter queue resume %d' releases it", because(j.Hold), j.ID)
	case ForEarliest:
		return "waits for its earliest start, " + in()
	case ForRetry:
		return fmt.Sprintf("tries again %s, after failure %d of the %d that it may have%s", in(), j.Failures, j.Retries+1, because(j.Reason))
	case ForWindow:
		return fmt.Sprintf("waits for the window %s, which opens %s", j.Window, in())
	case ForHours:
		kind, unit := "cheapest", ""
		file := j.Cheap
		if j.Green != "" {
			kind, file = "greenest", j.Green
		}
		if s := w.Series[file].Series; s != nil {
			unit = " " + s.Unit().String()
		}
		return fmt.Sprintf("waits for the %s hours, the first of which begins %s, at a mean of %.3g%s", kind, in(), t.Mean, unit)
	case ForSeries:
		return fmt.Sprintf("waits for hours to choose from: %v", t.Err)
	case ForMachine:
		return t.Problem
	case ForDevice:
		text := fmt.Sprintf("waits for %s, which job %d has", t.Device, t.Holder)
		if t.Until.IsZero() {
			return text + "; nothing tells for how long"
		}
		return text + " until about " + when(t.Until, w.Now)
	}
	return "waits"
}

// runs tells of a job that runs.
func (j *Job) runs(w World) string {
	text := fmt.Sprintf("runs on %s since %s", j.Device, when(j.Started, w.Now))
	_, until := j.blocked(&w)
	left := j.Remaining(w.Now)
	switch {
	case left > 0 && (until.IsZero() || w.Now.Add(left).Before(until)):
		text += fmt.Sprintf(", and is done in about %s (%s)", span(left), when(w.Now.Add(left), w.Now))
	case !until.IsZero():
		text += fmt.Sprintf(", and pauses %s, when its time is over", when(until, w.Now))
	}
	return text
}

// late tells whether the job will miss its deadline.
func (j *Job) late(w World, p Plan) string {
	if j.Deadline.IsZero() {
		return ""
	}
	if !w.Now.Before(j.Deadline) {
		return fmt.Sprintf("; its deadline passed %s", when(j.Deadline, w.Now))
	}
	left := j.Remaining(w.Now)
	if left == 0 {
		return ""
	}
	from := w.Now
	if wait := p.Waits[j.ID]; wait.Until.After(from) && wait.Cause != ForSeries {
		from = wait.Until
	}
	var open time.Duration
	for _, o := range j.Window.Between(from, j.Deadline) {
		open += o.Length()
	}
	if open >= left {
		return ""
	}
	return fmt.Sprintf("; the deadline, %s, cannot be met: it needs %s more and has %s until then", when(j.Deadline, w.Now), span(left), span(open))
}

// pauseReason is why a running job has to stop.
func (j *Job) pauseReason(t Wait) string {
	switch t.Cause {
	case ForRelease:
		return cmp.Or(j.Hold, "cancelled")
	case ForWindow:
		return fmt.Sprintf("the window %s has closed", j.Window)
	case ForSeries:
		return t.Err.Error()
	case ForHours:
		if j.Green != "" {
			return "greener hours come later"
		}
		return "cheaper hours come later"
	}
	return "it may not run now"
}

// unsuited tells why no device of the machine suits the job.
func (j *Job) unsuited(devices []Device) string {
	var names, slices []string
	var largest Device
	problem := ""
	for _, d := range devices {
		names = append(names, d.Name)
		if d.Slice != "" {
			slices = append(slices, d.Slice)
		}
		switch {
		case len(j.Devices) > 0 && !j.wants(d):
		case d.Problem != "":
			problem = fmt.Sprintf("%s cannot be used: %s", d.Name, d.Problem)
		case j.Slice == "" || j.Slice == d.Slice:
			if d.Memory > largest.Memory {
				largest = d
			}
		}
	}
	list := func(names []string) string {
		if len(names) == 0 {
			return "none"
		}
		return strings.Join(names, ", ")
	}
	switch {
	case problem != "":
		return "waits for a device: " + problem
	case largest.Name != "" && j.Memory > largest.Memory:
		return fmt.Sprintf("waits for a device with %s of memory, which this machine has not got: %s has most, %s", bytes(j.Memory), largest.Name, bytes(largest.Memory))
	case j.Slice != "":
		return fmt.Sprintf("waits for a MIG slice %s, which this machine has not got; its slices: %s", j.Slice, list(slices))
	case len(j.Devices) == 1:
		hint := ""
		if near := nearest.Names(j.Devices[0], names, 1); near != nil {
			hint = fmt.Sprintf("; did you mean %s?", near[0])
		}
		return fmt.Sprintf("waits for %s, which this machine has not got; it has %s%s", j.Devices[0], list(names), hint)
	}
	if len(j.Devices) == 0 {
		return "waits for a device: none is known; 'sinter devices' tells what is missing"
	}
	return fmt.Sprintf("waits for one of %s, none of which this machine has got; it has %s", list(j.Devices), list(names))
}

// bytes writes a size as vendors do, in powers of ten.
func bytes(n int64) string { return fmt.Sprintf("%.3g GB", float64(n)/1e9) }

// span writes a length of time to the minute, or to the second below one.
func span(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", max(0, int(d.Round(time.Second)/time.Second)))
	}
	m := int(d.Round(time.Minute) / time.Minute)
	switch {
	case m < 60:
		return fmt.Sprintf("%d min", m)
	case m < 48*60:
		return fmt.Sprintf("%d h %02d min", m/60, m%60)
	}
	return fmt.Sprintf("%d d %d h", m/60/24, m/60%24)
}

// when writes a moment as near as it is: by the clock, with the day if that is another.
// It is told in the zone of now.
func when(t, now time.Time) string {
	t = t.In(now.Location())
	y, m, d := now.Date()
	days := int(time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, time.UTC).Sub(time.Date(y, m, d, 12, 0, 0, 0, time.UTC)).Hours() / 24)
	clock := t.Format("15:04")
	switch {
	case days == 0:
		return "today " + clock
	case days == 1:
		return "tomorrow " + clock
	case days == -1:
		return "yesterday " + clock
	case days > 1 && days < 7:
		return t.Format("Mon") + " " + clock
	}
	return t.Format("2006-01-02 ") + clock
}
