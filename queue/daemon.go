package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/sinter-dl/sinter/internal/process"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/rundir"
)

// Daemon carries out the jobs of a database.
type Daemon struct {
	Store   *Store
	Program string                                      // sinter
	Devices func(ctx context.Context) ([]Device, error) // finds those of the machine
	Load    func(path string) (*power.Series, error)    // reads a file of prices or carbon intensities
	Log     func(text string)                           // is told what happens, a line at a time
	Once    bool                                        // ends when nothing runs and nothing can start now
	Now     func() time.Time                            // time.Now unless set

	glance   time.Duration // how often it looks at the database's date, and at processes that were taken over; a second unless set
	me       Holder
	before   time.Time      // when the daemon before this one gave its last word
	said     time.Time      // and this one
	children map[int]*child // by job
	ended    chan int       // jobs whose children have ended
	devices  []Device
	asked    time.Time // when the devices were looked for last
	cache    Cache
	version  fileVersion // of the database, when it was last read
	wall     time.Time   // of the last pass
}

// child is the process of a job.
type child struct {
	pid   int
	state *os.ProcessState // once it has ended
	told  bool
	id    process.ID
	own   bool // this daemon started it, and is told when it ends
	job   Job  // as it was last written
}

// How often things are looked at.
const (
	beat      = 30 * time.Second // at everything, and the daemon gives its word
	lease     = 3 * beat         // after which a daemon that cannot be seen counts as gone
	inventory = 10 * time.Minute // at the machine's devices
)

func (d *Daemon) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

func (d *Daemon) log(format string, args ...any) { d.Log(fmt.Sprintf(format, args...)) }

// Run carries out jobs until ctx ends; then it has those that run write their
// checkpoints, which go on when a daemon runs again. The error is a *HeldError if another
// daemon has the database.
func (d *Daemon) Run(ctx context.Context) error {
	d.children, d.ended = map[int]*child{}, make(chan int, 64)
	now := d.now()
	d.me = Holder{PID: os.Getpid(), Process: process.Self(), Since: now, Seen: now, Lease: lease}
	err := d.Store.Update(func(t *Tx) error {
		last, err := t.Holder()
		if err == nil && last != nil {
			d.before = last.Seen
		}
		return errors.Join(err, t.Claim(d.me))
	})
	if err != nil {
		return err
	}
	defer d.Store.Update(func(t *Tx) error { return t.Release(d.me) })
	d.log("carries out %s", d.Store.Path)
	if err := d.takeOver(); err != nil {
		return err
	}
	tick := time.NewTicker(cmp.Or(d.glance, time.Second))
	defer tick.Stop()
	d.wall = d.now()
	for {
		plan, err := d.pass(ctx, "")
		if errors.As(err, new(*HeldError)) {
			return err // somebody has taken it for dead; the children go on under the other
		}
		if err != nil {
			d.log("%v", err)
		}
		if d.Once && err == nil && len(d.children) == 0 && len(plan.Start) == 0 {
			return nil
		}
		if !d.wait(ctx, tick, plan.Next) {
			return d.shutDown()
		}
	}
}

// wait returns when there may be something to do; false if the daemon is to end. No timer
// is trusted for longer than a beat: clocks are set, and machines sleep.
func (d *Daemon) wait(ctx context.Context, tick *time.Ticker, next time.Time) bool {
	until := d.now().Add(beat)
	if !next.IsZero() && next.Before(until) {
		until = next
	}
	timer := time.NewTimer(max(0, until.Sub(d.now())))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case id := <-d.ended:
			d.ended <- id
			return true
		case <-timer.C:
			return true
		case <-tick.C:
			if d.lookAt() || versionOf(d.Store.Path) != d.version {
				return true
			}
			if now := d.now(); !now.Before(until) { // the clock may have been set
				return true
			}
		}
	}
}

// lookAt finds out which of the processes that were taken over have ended.
func (d *Daemon) lookAt() (some bool) {
	for id, c := range d.children {
		if !c.own && process.Look(c.pid, c.id) == process.Gone {
			c.own = true // counted once
			d.ended <- id
			some = true
		}
	}
	return some
}

// fileVersion changes when a file does.
type fileVersion struct {
	time time.Time
	size int64
}

func versionOf(path string) fileVersion {
	info, err := os.Stat(path)
	if err != nil {
		return fileVersion{}
	}
	return fileVersion{info.ModTime(), info.Size()}
}

// Cache is series that were read, by file.
type Cache map[string]cached

type cached struct {
	version fileVersion
	SeriesFile
}

// Read reads the files that jobs name, those that have changed since the last time.
func (c Cache) Read(jobs []Job, load func(string) (*power.Series, error)) Series {
	all := Series{}
	for _, j := range jobs {
		for _, path := range []string{j.Cheap, j.Green} {
			if path == "" || j.State.Ended() {
				continue
			}
			v := versionOf(path)
			if f, ok := c[path]; !ok || f.version != v || v == (fileVersion{}) {
				s, err := load(path)
				c[path] = cached{v, SeriesFile{s, err}}
			}
			all[path] = c[path].SeriesFile
		}
	}
	return all
}

// pass looks at everything, writes down what is to be done and does it. With a reason to
// close, everything that runs is to stop for it.
func (d *Daemon) pass(ctx context.Context, closing string) (plan Plan, err error) {
	now := d.now()
	if gap, ran := now.Round(0).Sub(d.wall.Round(0)), now.Sub(d.wall); gap-ran > 5*time.Second || ran-gap > 5*time.Second {
		d.log("the clock has jumped by %v: the machine slept, or its clock was set", (gap - ran).Round(time.Second))
	}
	d.wall = now
	if closing == "" && now.Sub(d.asked) > inventory {
		d.asked = now
		if found, err := d.Devices(ctx); err == nil {
			d.devices = found
		} else if ctx.Err() == nil {
			d.log("looking for devices: %v", err)
		}
	}
	var gone []int
	for len(d.ended) > 0 {
		gone = append(gone, <-d.ended)
	}
	var starts, stops, kills []Job
	var lines []string // said when they are true
	dirty := false
	say := func(j *Job, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("job %d (%s) %s", j.ID, j.Name, fmt.Sprintf(format, args...)))
	}
	// It is worked out what is to be done; only if that is anything, or it is time to give
	// word, it is done again and written down.
	work := func(t *Tx, write bool) error {
		starts, stops, kills, lines = nil, nil, nil, nil
		if write {
			d.me.Seen = now
			if err := errors.Join(t.Claim(d.me), t.PutDevices(d.devices)); err != nil {
				return err
			}
		}
		jobs, err := t.Jobs()
		if err != nil {
			return err
		}
		jobs, changed := d.restore(jobs, say)
		for i := range jobs {
			j := &jobs[i]
			if slices.Contains(gone, j.ID) && j.State.Live() {
				c := d.children[j.ID]
				o := d.look(j)
				o.lost = true
				if c != nil && c.state != nil {
					o = d.seen(j, c.state)
				}
				j.end(o, now, now)
				changed[j.ID] = true
				if j.State == Queued {
					say(j, "failed and is tried again%s", because(j.Reason))
				} else {
					say(j, "is %s%s", j.State, because(j.Reason))
				}
			}
			if j.Cancel && !j.State.Live() && !j.State.Ended() {
				j.become(Cancelled, now, "")
				changed[j.ID] = true
				say(j, "is cancelled")
			}
		}
		w := World{Now: now, Jobs: jobs, Devices: d.devices, Series: d.cache.Read(jobs, d.Load)}
		plan = Decide(w)
		if closing != "" {
			plan.Start = nil
			plan.Pause = nil
			for i := range jobs {
				if jobs[i].State == Running {
					plan.Pause = append(plan.Pause, Pause{jobs[i].ID, closing})
				}
			}
		}
		find := func(id int) *Job {
			return &jobs[slices.IndexFunc(jobs, func(j Job) bool { return j.ID == id })]
		}
		for _, s := range plan.Start {
			j := find(s.Job)
			j.Device, j.Started = s.Device, now
			if j.Run == "" {
				j.Run = j.runFolder(now)
			}
			j.become(Running, now, "on "+s.Device)
			changed[j.ID] = true
			starts = append(starts, *j)
			say(j, "starts on %s", s.Device)
		}
		for _, p := range plan.Pause {
			j := find(p.Job)
			j.Told = now
			j.become(Pausing, now, p.Reason)
			changed[j.ID] = true
			say(j, "is to write a checkpoint and stop: %s", p.Reason)
		}
		for i := range jobs {
			j := &jobs[i]
			wait, waits := plan.Waits[j.ID]
			switch {
			case j.State == Pausing && !now.Before(j.Told.Add(j.Grace)) && !j.Killed:
				j.Killed = true
				changed[j.ID] = true
				kills = append(kills, *j)
				say(j, "has not stopped within %s and is killed", span(j.Grace))
			case j.State == Pausing:
				stops = append(stops, *j)
			case j.State == Queued && waits && (wait.Cause == ForWindow || wait.Cause == ForHours):
				j.become(Waiting, now, "")
				changed[j.ID] = true
				say(j, "%s", wait.sentence(w, j))
			case j.State == Waiting && (!waits || wait.Cause != ForWindow && wait.Cause != ForHours):
				j.become(Queued, now, "")
				changed[j.ID] = true
			}
		}
		dirty = len(changed) > 0
		for i := range jobs {
			if write && changed[jobs[i].ID] {
				if err := t.Put(jobs[i]); err != nil {
					return err
				}
			}
			if c := d.children[jobs[i].ID]; c != nil {
				c.job = jobs[i]
			}
		}
		return nil
	}
	d.version = versionOf(d.Store.Path)
	err = d.Store.View(func(t *Tx) error { return work(t, false) })
	if err == nil && (dirty || now.Sub(d.said) >= beat || now.Before(d.said)) {
		err = d.Store.Update(func(t *Tx) error { return work(t, true) })
		d.said = now
	}
	if err != nil {
		for _, id := range gone { // it has not been written down
			d.ended <- id
		}
		return Plan{}, err
	}
	for _, id := range gone {
		delete(d.children, id)
	}
	for _, line := range lines {
		d.Log(line)
	}
	if len(gone) > 0 {
		d.asked = time.Time{} // it may have failed for a device that is gone
	}
	for _, j := range kills {
		if c := d.children[j.ID]; c != nil {
			if err := kill(c.pid); err != nil {
				d.log("job %d: process %d cannot be killed: %v", j.ID, c.pid, err)
			}
		}
	}
	for _, j := range stops {
		if c := d.children[j.ID]; c != nil && !c.told {
			c.told = true
			if err := tell(c.pid, j.Run); err != nil {
				d.log("job %d: process %d cannot be told to stop: %v", j.ID, c.pid, err)
			}
		}
	}
	if err := d.startAll(starts); err != nil {
		return plan, err
	}
	return plan, nil
}

// restore puts the jobs that this daemon runs back into a database that does not know
// them: it had to be begun anew.
func (d *Daemon) restore(jobs []Job, say func(*Job, string, ...any)) (all []Job, changed map[int]bool) {
	changed = map[int]bool{}
	for id, c := range d.children {
		if !slices.ContainsFunc(jobs, func(j Job) bool { return j.ID == id }) {
			jobs = append(jobs, c.job)
			changed[id] = true
			say(&c.job, "runs and is not in the database; it is put back")
		}
	}
	slices.SortFunc(jobs, func(a, b Job) int { return a.ID - b.ID })
	return jobs, changed
}

// startAll starts the processes of jobs that have been written down as running, and
// writes down their numbers.
func (d *Daemon) startAll(jobs []Job) error {
	if len(jobs) == 0 {
		return nil
	}
	for i := range jobs {
		j := &jobs[i]
		c, err := d.start(j)
		if err != nil {
			now := d.now()
			j.end(outcome{status: 1, last: err.Error()}, now, now)
			d.log("job %d (%s) cannot be started: %v", j.ID, j.Name, err)
			continue
		}
		j.PID = c.Process.Pid
		j.Process, _ = process.Of(j.PID)
		d.keep(*j, c)
	}
	return d.Store.Update(func(t *Tx) error {
		for _, j := range jobs {
			now, err := t.Job(j.ID)
			if err != nil {
				if errors.As(err, new(*JobError)) { // the database has been begun anew
					now = j
				} else {
					return err
				}
			}
			// Meanwhile somebody may have asked for something.
			j.Hold, j.Cancel = now.Hold, now.Cancel
			if err := t.Put(j); err != nil {
				return err
			}
		}
		return nil
	})
}

// keep waits for a child.
func (d *Daemon) keep(j Job, c *exec.Cmd) {
	k := &child{pid: j.PID, id: j.Process, own: true, job: j}
	d.children[j.ID] = k
	go func() {
		c.Wait()
		k.state = c.ProcessState // read after the channel has told
		d.ended <- j.ID
	}()
}

// takeOver looks after jobs that another daemon has left running: those whose process
// lives are watched, and the others go on from what their folder says.
func (d *Daemon) takeOver() error {
	return d.Store.Update(func(t *Tx) error {
		jobs, err := t.Jobs()
		if err != nil {
			return err
		}
		now := d.now()
		for _, j := range jobs {
			if !j.State.Live() {
				continue
			}
			pid, id := j.PID, j.Process
			if pid == 0 { // it was killed in the moment in which it started the process
				if holder, held := rundir.Held(j.Run); held && holder.PID != 0 {
					pid = holder.PID
					id, _ = process.Of(pid)
				}
			}
			if c := process.Look(pid, id); pid != 0 && (c == process.Running || c == process.Halted) {
				j.PID, j.Process = pid, id
				d.children[j.ID] = &child{pid: pid, id: id, told: j.State == Pausing, job: j}
				d.log("job %d (%s) still runs as process %d and is taken over", j.ID, j.Name, pid)
			} else {
				o := d.look(&j)
				o.lost = true
				stopped := d.before // it is not known to have run longer
				if stopped.Before(j.Started) {
					stopped = j.Started
				}
				j.end(o, stopped, now)
				d.log("job %d (%s) is %s%s", j.ID, j.Name, j.State, because(j.Reason))
			}
			if err := t.Put(j); err != nil {
				return err
			}
		}
		return nil
	})
}

// shutDown has all that runs write a checkpoint and waits for it.
func (d *Daemon) shutDown() error {
	d.log("ends; %d jobs run", len(d.children))
	ctx := context.Background()
	tick := time.NewTicker(cmp.Or(d.glance, time.Second))
	defer tick.Stop()
	for {
		plan, err := d.pass(ctx, "the daemon has ended; it goes on when one runs again")
		if err != nil {
			d.log("%v", err)
		}
		if len(d.children) == 0 {
			return nil
		}
		d.wait(ctx, tick, plan.Next)
	}
}
