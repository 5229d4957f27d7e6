package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/schedule"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func window(t testing.TB, text string) schedule.Window {
	t.Helper()
	w, err := schedule.ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// prices is a series in EUR/kWh by the hour.
func prices(t testing.TB, start string, values ...float64) SeriesFile {
	t.Helper()
	var hours []power.Hour
	for i, v := range values {
		hours = append(hours, power.Hour{Start: at(t, start).Add(time.Duration(i) * time.Hour), Value: v})
	}
	s, err := power.NewSeries(power.Unit{Currency: "EUR"}, "prices.csv", hours)
	if err != nil {
		t.Fatal(err)
	}
	return SeriesFile{Series: s}
}

var cpu = Device{Name: "cpu", Auto: true, Memory: 16e9}

// machine carries decisions out on a clock of its own. Each job takes as long as it says.
type machine struct {
	t testing.TB
	World
	takes map[int]time.Duration
	late  map[int]time.Duration // that a job takes to stop
	until map[int]time.Time     // that a pausing job takes
	log   []string
}

// pass is what Daemon.pass does with a plan, without processes.
func (m *machine) pass() Plan {
	m.t.Helper()
	p := Decide(m.World)
	used := map[string]int{}
	unit := func(name string) string {
		i := slices.IndexFunc(m.Devices, func(d Device) bool { return d.Name == name })
		return m.Devices[i].unit()
	}
	for _, s := range p.Start {
		j := m.job(s.Job)
		j.Device, j.Started = s.Device, m.Now
		j.become(Running, m.Now, "")
		m.note(j, "starts on "+s.Device)
		if i := slices.IndexFunc(m.Devices, func(d Device) bool { return d.Name == s.Device }); !j.suits(m.Devices[i]) {
			m.t.Errorf("job %d starts on %s, which does not suit it", j.ID, s.Device)
		}
		if wait, _ := j.blocked(&m.World); wait != nil {
			m.t.Errorf("%v: job %d starts, and may not: %+v", m.Now, j.ID, *wait)
		}
	}
	for _, s := range p.Pause {
		j := m.job(s.Job)
		j.Told = m.Now
		j.become(Pausing, m.Now, s.Reason)
		m.until[j.ID] = m.Now.Add(m.late[j.ID])
		m.note(j, "pauses: "+s.Reason)
	}
	for i := range m.Jobs {
		j := &m.Jobs[i]
		if !j.State.Live() {
			continue
		}
		if other := used[unit(j.Device)]; other != 0 {
			m.t.Fatalf("%v: jobs %d and %d are on %s", m.Now, other, j.ID, j.Device)
		}
		used[unit(j.Device)] = j.ID
		if j.State == Running && !j.Now && !j.Window.Contains(m.Now) {
			m.t.Fatalf("%v: job %d runs outside of %v", m.Now, j.ID, j.Window)
		}
	}
	return p
}

func (m *machine) job(id int) *Job {
	return &m.Jobs[slices.IndexFunc(m.Jobs, func(j Job) bool { return j.ID == id })]
}

func (m *machine) note(j *Job, what string) {
	m.log = append(m.log, fmt.Sprintf("%s job %d %s", m.Now.UTC().Format("01-02 15:04"), j.ID, what))
}

// run goes on until a time, from one event to the next.
func (m *machine) run(until time.Time) {
	m.t.Helper()
	for m.Now.Before(until) {
		for i := range m.Jobs {
			j := &m.Jobs[i]
			switch {
			case j.State.Live() && j.ran(m.Now) >= m.takes[j.ID]:
				j.end(outcome{status: 0}, m.Now, m.Now)
				m.note(j, "is done")
			case j.State == Pausing && !m.Now.Before(m.until[j.ID]):
				j.end(outcome{status: exitStopped}, m.Now, m.Now)
				m.note(j, "is paused")
			}
		}
		next := until
		earlier := func(t time.Time) {
			if t.Before(next) {
				next = t
			}
		}
		if p := m.pass(); !p.Next.IsZero() {
			earlier(p.Next)
		}
		for _, j := range m.Jobs {
			switch j.State {
			case Running:
				earlier(m.Now.Add(m.takes[j.ID] - j.ran(m.Now)))
			case Pausing:
				earlier(m.until[j.ID])
			}
		}
		m.Now = next
	}
}

func newMachine(t testing.TB, now string, devices ...Device) *machine {
	return &machine{t: t, World: World{Now: at(t, now), Devices: devices, Series: Series{}},
		takes: map[int]time.Duration{}, late: map[int]time.Duration{}, until: map[int]time.Time{}}
}

func (m *machine) add(j Job, takes time.Duration) int {
	j.ID, j.Added, j.Grace = len(m.Jobs)+1, m.Now, 2*time.Minute
	j.become(Queued, m.Now, "")
	m.Jobs = append(m.Jobs, j)
	m.takes[j.ID] = takes
	return j.ID
}

func (m *machine) expect(want ...string) {
	m.t.Helper()
	if !slices.Equal(m.log, want) {
		m.t.Errorf("what happened:\n  %s\nwant:\n  %s", strings.Join(m.log, "\n  "), strings.Join(want, "\n  "))
	}
}

// A job of 15 hours in a window of a night, over the night in which the clocks of Paris go
// forward (29 March 2026, 01:00 UTC): that one is an hour shorter.
func TestWindowInSpring(t *testing.T) {
	m := newMachine(t, "2026-03-28T12:00:00Z", cpu)
	m.add(Job{Window: window(t, "23:00-06:00 Europe/Paris")}, 15*time.Hour)
	m.run(at(t, "2026-03-31T12:00:00Z"))
	closed := "pauses: the window 23:00-06:00 Europe/Paris has closed"
	m.expect(
		"03-28 22:00 job 1 starts on cpu", "03-29 04:00 job 1 "+closed, "03-29 04:00 job 1 is paused", // 6 h
		"03-29 21:00 job 1 starts on cpu", "03-30 04:00 job 1 "+closed, "03-30 04:00 job 1 is paused", // 7 h
		"03-30 21:00 job 1 starts on cpu", "03-30 23:00 job 1 is done", // 2 h
	)
}

// In autumn it is an hour longer, and a window that ends in the repeated hour opens twice.
func TestWindowInAutumn(t *testing.T) {
	m := newMachine(t, "2026-10-31T12:00:00Z", cpu, Device{Name: "cuda:0", Memory: 8e9})
	m.add(Job{Window: window(t, "22:00-01:30 America/New_York")}, 5*time.Hour)
	m.add(Job{Window: window(t, "22:00-05:00 America/New_York"), Devices: []string{"cuda:0"}}, 8*time.Hour)
	m.run(at(t, "2026-11-02T12:00:00Z"))
	closed := "pauses: the window 22:00-01:30 America/New_York has closed"
	m.expect(
		"11-01 02:00 job 1 starts on cpu", "11-01 02:00 job 2 starts on cuda:0",
		"11-01 05:30 job 1 "+closed, "11-01 05:30 job 1 is paused",
		"11-01 06:00 job 1 starts on cpu", "11-01 06:30 job 1 "+closed, "11-01 06:30 job 1 is paused",
		"11-01 10:00 job 2 is done",
		"11-02 03:00 job 1 starts on cpu", "11-02 04:00 job 1 is done",
	)
}

// Lord Howe Island changes its clocks by half an hour.
func TestWindowOnLordHowe(t *testing.T) {
	m := newMachine(t, "2026-10-03T12:00:00Z", cpu)
	m.add(Job{Window: window(t, "00:00-06:00 Australia/Lord_Howe")}, 6*time.Hour)
	m.run(at(t, "2026-10-05T00:00:00Z"))
	closed := "pauses: the window 00:00-06:00 Australia/Lord_Howe has closed"
	m.expect("10-03 13:30 job 1 starts on cpu", "10-03 19:00 job 1 "+closed, "10-03 19:00 job 1 is paused", // 5 h 30
		"10-04 13:00 job 1 starts on cpu", "10-04 13:30 job 1 is done")
}

func TestOrder(t *testing.T) {
	m := newMachine(t, "2026-01-10T00:00:00Z", cpu)
	m.add(Job{}, time.Hour)
	m.add(Job{Priority: 1}, time.Hour)
	m.add(Job{Deadline: at(t, "2026-01-11T00:00:00Z")}, time.Hour)
	m.add(Job{Deadline: at(t, "2026-01-10T12:00:00Z")}, time.Hour)
	m.add(Job{Priority: 1, Earliest: at(t, "2026-01-10T02:30:00Z")}, time.Hour)
	m.add(Job{Priority: -1}, time.Hour)
	m.run(at(t, "2026-01-11T00:00:00Z"))
	var order []string
	for _, line := range m.log {
		if strings.Contains(line, "starts") {
			order = append(order, line[:len("01-10 00:00 job 2")])
		}
	}
	want := []string{"01-10 00:00 job 2", "01-10 01:00 job 4", "01-10 02:00 job 3", "01-10 03:00 job 5", "01-10 04:00 job 1", "01-10 05:00 job 6"}
	if !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
}

func TestDevices(t *testing.T) {
	machine := []Device{
		{Name: "cpu", Memory: 64e9}, {Name: "opencl:0", Unit: "cpu", Memory: 60e9},
		{Name: "cuda:0", Auto: true, Memory: 80e9}, {Name: "cuda:1", Auto: true, Memory: 24e9},
		{Name: "cuda:MIG-a", Auto: true, Memory: 10e9, Slice: "1g.10gb"}, {Name: "cuda:2", Auto: true, Memory: 99e9, Problem: "it is lost"},
	}
	for _, c := range []struct {
		what string
		jobs []Job
		want string
	}{
		{"the smallest that suits", []Job{{}, {}, {}, {}}, "1 cuda:MIG-a, 2 cuda:1, 3 cuda:0"},
		{"memory", []Job{{Memory: 20e9}, {Memory: 20e9}, {Memory: 20e9}}, "1 cuda:1, 2 cuda:0"},
		{"a slice", []Job{{Slice: "1g.10gb"}, {Slice: "1g.10gb"}, {Slice: "2g.20gb"}}, "1 cuda:MIG-a"},
		{"one of several", []Job{{Devices: []string{"cuda:0", "cpu"}}, {Devices: []string{"cpu"}}}, "1 cuda:0, 2 cpu"},
		{"the same hardware by two names", []Job{{Devices: []string{"opencl:0"}}, {Devices: []string{"cpu"}}}, "1 opencl:0"},
		{"one that has been lost", []Job{{Devices: []string{"cuda:2"}}}, ""},
		{"a job that can only be there comes to its device", []Job{{Memory: 5e9}, {Slice: "1g.10gb"}}, "1 cuda:1, 2 cuda:MIG-a"},
	} {
		w := World{Now: at(t, "2026-01-10T00:00:00Z"), Devices: machine}
		for i, j := range c.jobs {
			j.ID, j.State = i+1, Queued
			w.Jobs = append(w.Jobs, j)
		}
		var got []string
		for _, s := range Decide(w).Start {
			got = append(got, fmt.Sprintf("%d %s", s.Job, s.Device))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// The cheap hours of a night: 1, 3 and 5; a job of two hours pauses in between, and one
// that takes longer than was estimated runs on.
func TestCheap(t *testing.T) {
	m := newMachine(t, "2026-01-10T00:30:00Z", cpu)
	m.Series["/p.csv"] = prices(t, "2026-01-10T00:00:00Z", .3, .1, .3, .1, .3, .2, .3, .3)
	m.add(Job{Cheap: "/p.csv", Length: 2 * time.Hour}, 150*time.Minute)
	m.run(at(t, "2026-01-10T08:00:00Z"))
	m.expect("01-10 01:00 job 1 starts on cpu", "01-10 02:00 job 1 pauses: cheaper hours come later", "01-10 02:00 job 1 is paused",
		"01-10 03:00 job 1 starts on cpu", "01-10 04:30 job 1 is done")

	// The device is taken in the first cheap hour: the next best make up for it.
	m = newMachine(t, "2026-01-10T00:30:00Z", cpu)
	m.Series["/p.csv"] = prices(t, "2026-01-10T00:00:00Z", .3, .1, .3, .1, .3, .2, .3, .3)
	m.add(Job{}, 90*time.Minute)
	m.add(Job{Cheap: "/p.csv", Length: 2 * time.Hour}, 2*time.Hour)
	m.run(at(t, "2026-01-10T08:00:00Z"))
	m.expect("01-10 00:30 job 1 starts on cpu", "01-10 02:00 job 1 is done",
		"01-10 03:00 job 2 starts on cpu", "01-10 04:00 job 2 pauses: cheaper hours come later", "01-10 04:00 job 2 is paused",
		"01-10 05:00 job 2 starts on cpu", "01-10 06:00 job 2 is done")

	// A deadline leaves no choice, also where the file ends before it or cannot be read.
	for _, file := range []SeriesFile{prices(t, "2026-01-10T00:00:00Z", .3, .3, .3, .3, .3, .3, .3, .1), {Err: errors.New("gone")}} {
		m = newMachine(t, "2026-01-10T00:30:00Z", cpu)
		m.Series["/p.csv"] = file
		m.add(Job{Cheap: "/p.csv", Length: 2 * time.Hour, Deadline: at(t, "2026-01-10T04:00:00Z")}, 2*time.Hour)
		if file.Err == nil {
			m.job(1).Window = window(t, "02:00-04:00 UTC")
		}
		m.run(at(t, "2026-01-10T08:00:00Z"))
		m.expect("01-10 02:00 job 1 starts on cpu", "01-10 04:00 job 1 is done")
	}

	// A job of ten hours, and prices for four: the hours that are no worse than their mean.
	m = newMachine(t, "2026-01-10T00:00:00Z", cpu)
	m.Series["/p.csv"] = prices(t, "2026-01-10T00:00:00Z", .3, .1, .2, .4)
	m.add(Job{Cheap: "/p.csv", Length: 10 * time.Hour}, 10*time.Hour)
	m.run(at(t, "2026-01-10T05:00:00Z"))
	m.expect("01-10 01:00 job 1 starts on cpu", "01-10 03:00 job 1 pauses: 8h0m0s are wanted, and between 2026-01-10 03:00 UTC and 2026-01-10 04:00 UTC there are 1h0m0s of prices.csv", "01-10 03:00 job 1 is paused")
}

// run-now leaves windows aside until the job stops next.
func TestRunNow(t *testing.T) {
	m := newMachine(t, "2026-01-10T12:00:00Z", cpu)
	m.add(Job{Window: window(t, "23:00-06:00 UTC")}, 4*time.Hour)
	m.job(1).Now = true
	m.run(at(t, "2026-01-10T13:00:00Z"))
	m.job(1).Hold = "by hand"
	m.run(at(t, "2026-01-10T14:00:00Z"))
	m.job(1).Hold = ""
	m.run(at(t, "2026-01-11T12:00:00Z"))
	m.expect("01-10 12:00 job 1 starts on cpu", "01-10 13:00 job 1 pauses: by hand", "01-10 13:00 job 1 is paused",
		"01-10 23:00 job 1 starts on cpu", "01-11 02:00 job 1 is done")
}

// Nobody is overtaken for ever, although jobs with earlier deadlines keep coming.
func TestNoStarvation(t *testing.T) {
	m := newMachine(t, "2026-01-01T00:00:00Z", cpu)
	m.add(Job{}, time.Hour)
	for range 24 * 10 {
		m.add(Job{Deadline: m.Now.Add(5 * time.Hour)}, time.Hour)
		m.run(m.Now.Add(time.Hour))
		if m.job(1).State == Done {
			break
		}
	}
	if j := m.job(1); j.State != Done {
		t.Errorf("after %v it is %s", m.Now.Sub(j.Added), j.State)
	}
}

// TestRandom carries out random jobs on random machines. pass checks after each event that
// no two jobs are on one device, and none runs outside of its window; in the end each that
// can run is done, and of those of one kind the older ones began first.
func TestRandom(t *testing.T) {
	for seed := range uint64(40) {
		g := rand.New(rand.NewPCG(seed, 0))
		m := newMachine(t, "2026-03-25T00:00:00Z", cpu)
		for i := range g.IntN(3) {
			m.Devices = append(m.Devices, Device{Name: fmt.Sprint("cuda:", i), Auto: true, Memory: int64(1+i) * 8e9})
		}
		if g.IntN(3) == 0 {
			m.Devices = append(m.Devices, Device{Name: "opencl:0", Unit: "cpu", Memory: 8e9})
		}
		windows := []string{"23:00-06:00 Europe/Paris", "Mon-Fri 20:00-07:00 America/New_York", "02:00-04:00; 12:00-13:00 Europe/Paris", "Sat,Sun 00:00-24:00 Australia/Lord_Howe"}
		var values []float64
		for range 24 * 20 {
			values = append(values, g.Float64())
		}
		m.Series["/p.csv"] = prices(t, "2026-03-24T00:00:00Z", values...)
		plain := []int{}
		for range 4 + g.IntN(10) {
			j := Job{Priority: g.IntN(2), Length: time.Duration(g.IntN(5)) * time.Hour}
			like := true
			if g.IntN(2) == 0 {
				j.Window, like = window(t, windows[g.IntN(len(windows))]), false
			}
			if g.IntN(4) == 0 {
				j.Devices, like = []string{m.Devices[g.IntN(len(m.Devices))].Name}, false
			}
			if g.IntN(4) == 0 {
				j.Memory, like = int64(g.IntN(30))*1e9, false
			}
			if g.IntN(4) == 0 {
				j.Deadline, like = m.Now.Add(time.Duration(1+g.IntN(100))*time.Hour), false
			}
			if g.IntN(4) == 0 && j.Length > 0 {
				j.Cheap, like = "/p.csv", false
			}
			id := m.add(j, time.Duration(1+g.IntN(400))*time.Minute)
			m.late[id] = time.Duration(g.IntN(3)) * time.Minute
			if like && j.Priority == 0 {
				plain = append(plain, id)
			}
			m.run(m.Now.Add(time.Duration(g.IntN(90)) * time.Minute))
		}
		m.run(m.Now.AddDate(0, 0, 19))
		for _, j := range m.Jobs {
			can := slices.ContainsFunc(m.Devices, j.suits)
			if can != (j.State == Done) {
				t.Errorf("seed %d: job %+v, a device suits it: %v\n%s", seed, j, can, strings.Join(m.log, "\n"))
			}
			if can && m.takes[j.ID] > j.Ran {
				t.Errorf("seed %d: job %d is done after %v of %v", seed, j.ID, j.Ran, m.takes[j.ID])
			}
		}
		begun := func(id int) time.Time {
			for _, h := range m.job(id).History {
				if h.State == Running {
					return h.Time
				}
			}
			return m.Now
		}
		for i := 1; i < len(plain); i++ {
			if begun(plain[i]).Before(begun(plain[i-1])) {
				t.Errorf("seed %d: job %d began before %d", seed, plain[i], plain[i-1])
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestEnd has the ways in which a process ends.
func TestEnd(t *testing.T) {
	now := at(t, "2026-01-10T12:00:00Z")
	for _, c := range []struct {
		what string
		job  Job
		o    outcome
		want State
		why  string
	}{
		{"it is done", Job{}, outcome{status: 0}, Done, ""},
		{"it was done when it was told to stop", Job{State: Pausing}, outcome{status: 0}, Done, ""},
		{"it stopped as it was told", Job{State: Pausing, Reason: "the window has closed"}, outcome{status: 75}, Paused, "the window has closed"},
		{"told before it listened", Job{State: Pausing, Reason: "by hand"}, outcome{status: -1, signal: "terminated"}, Paused, "by hand"},
		{"it failed while it was stopping", Job{State: Pausing}, outcome{status: 1, last: "disk full"}, Failed, "disk full"},
		{"it had to be killed", Job{State: Pausing, Killed: true, Grace: time.Minute}, outcome{status: -1, signal: "killed"}, Paused, "did not stop within 1 min and was killed"},
		{"it was cancelled", Job{State: Pausing, Cancel: true}, outcome{status: 75}, Cancelled, ""},
		{"its budget is spent", Job{}, outcome{status: 75, stop: "the budget of 1 EUR is spent"}, Paused, "it stopped by itself: the budget of 1 EUR is spent"},
		{"bad usage is not tried again", Job{Retries: 3}, outcome{status: 2, last: "no such data"}, Failed, "no such data"},
		{"a failure", Job{}, outcome{status: 1, last: "out of memory"}, Failed, "out of memory"},
		{"a failure that is tried again", Job{Retries: 1}, outcome{status: 1}, Queued, ""},
		{"and goes on", Job{Retries: 1}, outcome{status: 1, run: "failed"}, Paused, ""},
		{"the last one", Job{Retries: 1, Failures: 1}, outcome{status: 1}, Failed, ""},
		{"killed by another", Job{}, outcome{status: -1, signal: "killed"}, Paused, "ended by the signal: killed; it goes on"},
		{"killed by another too often", Job{Lost: maxLost}, outcome{status: -1, signal: "killed"}, Failed, "6 times in a row"},
		{"found gone", Job{}, outcome{status: -1, lost: true, run: "running"}, Paused, "the machine went down"},
		{"found complete", Job{}, outcome{status: -1, lost: true, run: "complete"}, Done, ""},
		{"found failed", Job{}, outcome{status: -1, lost: true, run: "failed", last: "x"}, Failed, "x"},
		{"found stopped", Job{}, outcome{status: -1, lost: true, run: "interrupted"}, Paused, "it stopped by itself"},
	} {
		j := c.job
		if j.State == "" {
			j.State = Running
		}
		j.PID, j.Started, j.Now = 7, now.Add(-time.Minute), true
		j.end(c.o, now, now)
		if j.State != c.want || !strings.Contains(j.Reason, c.why) || j.PID != 0 || j.Now || j.Ran != time.Minute {
			t.Errorf("%s: %+v, want %s, %q", c.what, j, c.want, c.why)
		}
		if held := c.o.stop != "" || c.o.run == "interrupted"; held != (j.Hold != "") {
			t.Errorf("%s: held: %q", c.what, j.Hold)
		}
		if wait := j.NotBefore.Sub(now); (c.want == Queued || c.o.run == "failed" && c.want == Paused) && wait != time.Minute {
			t.Errorf("%s: tried again after %v", c.what, wait)
		}
	}
	for n, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 500: time.Hour} {
		if got := backoff(n); got != want {
			t.Errorf("after %d failures it waits %v, want %v", n, got, want)
		}
	}
}

func TestWhy(t *testing.T) {
	paris := window(t, "23:00-06:00 Europe/Paris")
	now := at(t, "2026-01-10T19:48:00+01:00").In(paris.Zone())
	gpu := Device{Name: "cuda:0", Auto: true, Memory: 24e9}
	ps := prices(t, "2026-01-10T18:00:00Z", .3, .3, .1, .3)
	running := Job{ID: 9, State: Running, Device: "cuda:0", Started: now.Add(-time.Hour), Length: 3 * time.Hour}
	for _, c := range []struct {
		job  Job
		and  []Job
		want string
	}{
		{Job{Window: paris}, nil, "waits for the window 23:00-06:00 Europe/Paris, which opens in 3 h 12 min (today 23:00)"},
		{Job{Window: window(t, "Mon 08:00-09:00 Europe/Paris")}, nil, "waits for the window Mon 08:00-09:00 Europe/Paris, which opens in 36 h 12 min (Mon 08:00)"},
		{Job{}, []Job{running}, "waits for cuda:0, which job 9 has until about today 21:48"},
		{Job{}, []Job{{ID: 9, State: Running, Device: "cuda:0", Started: now}}, "waits for cuda:0, which job 9 has; nothing tells for how long"},
		{Job{Memory: 80e9}, nil, "waits for a device with 80 GB of memory, which this machine has not got: cuda:0 has most, 24 GB"},
		{Job{Devices: []string{"cude:0"}}, nil, "waits for cude:0, which this machine has not got; it has cuda:0, cuda:1; did you mean cuda:0?"},
		{Job{Devices: []string{"cuda:1"}}, nil, "waits for a device: cuda:1 cannot be used: it is lost"},
		{Job{Slice: "1g.10gb"}, nil, "waits for a MIG slice 1g.10gb, which this machine has not got; its slices: none"},
		{Job{Earliest: now.Add(90 * time.Second)}, nil, "waits for its earliest start, in 2 min (today 19:49)"},
		{Job{NotBefore: now.Add(50 * time.Second), Failures: 1, Retries: 2, Reason: "disk full"}, nil, "tries again in 50 s (today 19:48), after failure 1 of the 3 that it may have: disk full"},
		{Job{Hold: "it was paused by hand"}, nil, "is held: it was paused by hand; 'sinter queue resume 1' releases it"},
		{Job{Cheap: "/p.csv", Length: time.Hour}, nil, "waits for the cheapest hours, the first of which begins in 1 h 12 min (today 21:00), at a mean of 0.1 EUR/kWh"},
		{Job{Cheap: "/q.csv", Length: time.Hour}, nil, "waits for hours to choose from: no such file"},
		{Job{Window: paris, Length: 9 * time.Hour, Deadline: now.Add(12 * time.Hour)}, nil, "waits for the window 23:00-06:00 Europe/Paris, which opens in 3 h 12 min (today 23:00); the deadline, tomorrow 07:48, cannot be met: it needs 9 h 00 min more and has 7 h 00 min until then"},
		{Job{Length: 2 * time.Hour, Deadline: now.Add(3 * time.Hour)}, []Job{running}, "waits for cuda:0, which job 9 has until about today 21:48; the deadline, today 22:48, cannot be met: it needs 2 h 00 min more and has 1 h 00 min until then"},
		{Job{}, nil, "can start now on cuda:0"},
		{Job{State: Running, Device: "cuda:0", Started: now.Add(-30 * time.Minute), Length: time.Hour}, nil, "runs on cuda:0 since today 19:18, and is done in about 30 min (today 20:18)"},
		{Job{State: Running, Device: "cuda:0", Started: now, Window: window(t, "19:00-20:00 Europe/Paris")}, nil, "runs on cuda:0 since today 19:48, and pauses today 20:00, when its time is over"},
		{Job{State: Running, Device: "cuda:0", Started: now, Window: paris}, nil, "is about to pause: the window 23:00-06:00 Europe/Paris has closed"},
		{Job{State: Pausing, Device: "cuda:0", Told: now, Grace: time.Minute, Reason: "the daemon has ended"}, nil, "writes a checkpoint and stops: the daemon has ended; it is killed if it has not by today 19:49"},
		{Job{State: Done, Ended: now.Add(-24 * time.Hour), Ran: 3 * time.Hour}, nil, "is done since yesterday 19:48; it ran for 3 h 00 min"},
		{Job{State: Failed, Ended: now.AddDate(0, 0, -9), Reason: "out of memory"}, nil, "failed 2026-01-01 19:48: out of memory"},
		{Job{Deadline: now.Add(-time.Hour)}, nil, "can start now on cuda:0; its deadline passed today 18:48"},
	} {
		j := c.job
		j.ID = 1
		if j.State == "" {
			j.State = Queued
		}
		w := World{Now: now, Jobs: append([]Job{j}, c.and...), Devices: []Device{gpu, {Name: "cuda:1", Auto: true, Memory: 80e9, Problem: "it is lost"}},
			Series: Series{"/p.csv": ps, "/q.csv": {Err: errors.New("no such file")}}}
		if j.Slice != "" || j.Memory > 0 {
			w.Devices = w.Devices[:1]
		}
		if got := Why(w, 1); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if got := Why(World{}, 3); got != "there is no job 3" {
		t.Error(got)
	}
}

func TestCheck(t *testing.T) {
	now := at(t, "2026-01-10T12:00:00Z")
	good := Job{Name: "a", Recipe: "model: {kind: mlp}", Dir: "/"}
	if err := good.Check(now); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Job){
		"needs a recipe":                    func(j *Job) { j.Recipe = "" },
		"expected 0 or more":                func(j *Job) { j.Retries = -1 },
		"has passed":                        func(j *Job) { j.Deadline = now },
		"not after the earliest start":      func(j *Job) { j.Earliest, j.Deadline = now.Add(2*time.Hour), now.Add(time.Hour) },
		"choose one":                        func(j *Job) { j.Cheap, j.Green = "a", "b" },
		"give its length":                   func(j *Job) { j.Green = "b" },
		"does not open before the deadline": func(j *Job) { j.Window, j.Deadline = window(t, "23:00-06:00 UTC"), now.Add(time.Hour) },
		"is open for 1 h 00 min before the deadline, 2026-01-11 00:00 UTC, and the job takes 2 h 00 min": func(j *Job) {
			j.Window, j.Deadline, j.Length = window(t, "23:00-06:00 UTC"), now.Add(12*time.Hour), 2*time.Hour
		},
	} {
		j := good
		change(&j)
		if err := j.Check(now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
