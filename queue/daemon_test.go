package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/rundir"
)

// The tests run this binary again: as a process that adds jobs, as a daemon, and as what
// the daemon takes for 'sinter train', which writes run folders and obeys signals, but
// only counts.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "train":
		os.Exit(fakeTrain(os.Args[2:]))
	case os.Getenv("SINTER_FAKE") == "add":
		n, _ := strconv.Atoi(os.Getenv("FAKE_N"))
		s := Open(os.Getenv("FAKE_DB"))
		var group sync.WaitGroup
		for range n {
			group.Go(func() {
				j := Job{Name: "job", Recipe: "x", Dir: "/"}
				if err := s.Update(func(t *Tx) error { return t.Add(&j) }); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
			})
		}
		group.Wait()
	case os.Getenv("SINTER_FAKE") == "daemon":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		d := daemon(Open(os.Getenv("FAKE_DB")), func(text string) { fmt.Fprintln(os.Stderr, text) })
		if err := d.Run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

func daemon(s *Store, log func(string)) *Daemon {
	return &Daemon{
		Store: s, Program: os.Args[0], Log: log, glance: 20 * time.Millisecond,
		Devices: func(context.Context) ([]Device, error) {
			return []Device{{Name: "cpu", Auto: true}, {Name: "cuda:0"}}, nil
		},
		Load: func(string) (*power.Series, error) { return nil, errors.New("no files here") },
	}
}

// fakeTrain counts to FAKE_STEPS, a step in 2 ms, and writes each step into the run's
// "counted" when it stops. FAKE_DO makes it fail, hang or ignore what it is told.
func fakeTrain(args []string) int {
	flag := func(name string) string {
		if i := slices.Index(args, name); i >= 0 {
			return args[i+1]
		}
		return ""
	}
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM)
	do, limit := os.Getenv("FAKE_DO"), 50
	if v, err := strconv.Atoi(os.Getenv("FAKE_STEPS")); err == nil {
		limit = v
	}
	if do == "usage" {
		fmt.Println("sinter: --epochs: found \"x\"")
		return 2
	}
	if do == "fail" {
		fmt.Println("sinter: the disk is full")
		return 1
	}
	var w *rundir.Writer
	m := &rundir.Manifest{Name: "fake"}
	var err error
	if dir := flag("--resume"); dir != "" {
		w, m, err = rundir.Open(dir)
	} else {
		w, err = rundir.Create(flag("--out"), m)
	}
	if err != nil {
		fmt.Println("sinter:", err)
		return 1
	}
	counted := w.File("counted")
	text, _ := os.ReadFile(counted)
	steps := len(strings.Fields(string(text)))
	m.Status = rundir.Running
	w.WriteManifest(m)
	save := func() {
		rundir.WriteFile(counted, text)
	}
	for ; steps < limit || do == "hang"; steps++ {
		text = fmt.Append(text, steps, " ")
		if steps%20 == 0 {
			save()
		}
		select {
		case <-stop:
			if do == "hang" {
				continue
			}
			save()
			m.Status = rundir.Interrupted
			w.Finish(m)
			fmt.Println("sinter: stopped")
			return 75
		case <-time.After(2 * time.Millisecond):
		}
	}
	save()
	m.Status = rundir.Complete
	w.Finish(m)
	fmt.Println("it is complete")
	return 0
}

// site is a database and a folder to run in.
type site struct {
	*Store
	t   *testing.T
	dir string
	mu  sync.Mutex
	log []string
}

func newSite(t *testing.T) *site {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent SIGTERM on Windows")
	}
	return &site{Store: store(t), t: t, dir: t.TempDir()}
}

func (s *site) add(j Job, env ...string) int {
	s.t.Helper()
	j.Name, j.Recipe, j.Dir = "fake", "a: b", s.dir
	j.Env = append(os.Environ(), env...)
	if j.Grace == 0 {
		j.Grace = time.Minute
	}
	return add(s.t, s.Store, j)
}

func (s *site) job(id int) (j Job) {
	s.t.Helper()
	if err := s.View(func(t *Tx) (err error) { j, err = t.Job(id); return err }); err != nil {
		s.t.Fatal(err)
	}
	return j
}

func (s *site) change(id int, f func(*Job)) {
	s.t.Helper()
	err := s.Update(func(t *Tx) error {
		j, err := t.Job(id)
		f(&j)
		return errors.Join(err, t.Put(j))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// until waits until a job is as it should be.
func (s *site) until(id int, what string, is func(Job) bool) Job {
	s.t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var j Job
		err := s.View(func(t *Tx) (err error) { j, err = t.Job(id); return err })
		if err != nil && !errors.As(err, new(*JobError)) {
			s.t.Fatal(err)
		}
		if err == nil && is(j) {
			return j
		}
		if time.Since(begun) > 30*time.Second {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("job %d is not %s: %+v\n%s", id, what, j, strings.Join(s.log, "\n"))
		}
	}
}

func (s *site) state(id int, want State) Job {
	s.t.Helper()
	return s.until(id, string(want), func(j Job) bool { return j.State == want })
}

// counting waits until a run has begun to count.
func (s *site) counting(id int) Job {
	s.t.Helper()
	return s.until(id, "counting", func(j Job) bool {
		_, err := os.Stat(filepath.Join(j.Run, "counted"))
		return j.State == Running && j.PID != 0 && err == nil
	})
}

// start runs a daemon in this process; end has it end.
func (s *site) start() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	d := daemon(s.Store, func(text string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log = append(s.log, text)
	})
	go func() { done <- d.Run(ctx) }()
	var once sync.Once
	end = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				s.t.Error(err)
			}
		})
	}
	s.t.Cleanup(end)
	return end
}

// whole checks that a run has counted each step once.
func (s *site) whole(id int, steps int) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.job(id).Run, "counted"))
	var want strings.Builder
	for i := range steps {
		fmt.Fprint(&want, i, " ")
	}
	if err != nil || string(text) != want.String() {
		s.t.Errorf("job %d has counted %s, %v", id, text, err)
	}
}

func TestDaemon(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	closed := window(t, "Mon 00:00-00:01 UTC") // as good as never
	if time.Now().UTC().Weekday() == time.Monday {
		closed = window(t, "Thu 00:00-00:01 UTC")
	}
	long := s.add(Job{}, "FAKE_STEPS=500")
	waits := s.add(Job{Window: closed, Devices: []string{"cuda:0"}})
	fails := s.add(Job{Retries: 1, Devices: []string{"cuda:0"}}, "FAKE_DO=fail")
	wrong := s.add(Job{Retries: 1, Devices: []string{"cuda:0"}}, "FAKE_DO=usage")
	hangs := s.add(Job{Grace: 50 * time.Millisecond, Devices: []string{"cuda:0"}}, "FAKE_DO=hang")
	queued := s.add(Job{})
	end := s.start()

	// Two daemons.
	var held *HeldError
	s.counting(long)
	if err := daemon(s.Store, func(string) {}).Run(context.Background()); !errors.As(err, &held) {
		t.Errorf("a second daemon: %v", err)
	}
	s.counting(hangs)
	s.change(hangs, func(j *Job) { j.Cancel = true })
	if j := s.state(hangs, Cancelled); j.Status != -1 {
		t.Errorf("killed: %+v", j)
	}
	// Asked for by hand, while it runs.
	s.change(long, func(j *Job) { j.Hold = "by hand" })
	if j := s.state(long, Paused); !strings.HasPrefix(j.Reason, "by hand") || j.PID != 0 || j.Status != 75 {
		t.Errorf("paused: %+v", j)
	}
	s.state(queued, Done)
	s.change(long, func(j *Job) { j.Hold = "" })
	s.state(long, Done)
	s.whole(long, 500)

	if j := s.until(fails, "to be tried again", func(j Job) bool { return j.Failures == 1 }); j.Reason != "the disk is full" || j.State != Queued || !j.NotBefore.After(time.Now().Add(30*time.Second)) {
		t.Errorf("failed once: %+v", j)
	}
	s.change(fails, func(j *Job) { j.NotBefore = time.Time{} })
	if j := s.state(fails, Failed); j.Failures != 2 {
		t.Errorf("failed twice: %+v", j)
	}
	if j := s.state(wrong, Failed); j.Failures != 0 || !strings.Contains(j.Reason, "--epochs") {
		t.Errorf("bad usage: %+v", j)
	}
	s.state(waits, Waiting)
	s.change(waits, func(j *Job) { j.Now = true })
	s.state(waits, Done)

	// The end of the daemon pauses what runs, and the next one goes on.
	late := s.add(Job{}, "FAKE_STEPS=200")
	s.counting(late)
	end()
	if j := s.job(late); j.State != Paused || !strings.Contains(j.Reason, "the daemon has ended") || j.Hold != "" {
		t.Errorf("after the end: %+v", j)
	}
	err := s.View(func(tx *Tx) error {
		h, err := tx.Holder()
		if h.Lives(time.Now()) {
			t.Errorf("the holder is still %+v", h)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	s.start()
	s.state(late, Done)
	s.whole(late, 200)
	if text, err := os.ReadFile(s.LogFile(late)); err != nil || strings.Count(string(text), "sinter train ") != 2 || !strings.Contains(string(text), "it is complete") {
		t.Errorf("log %s, %v", text, err)
	}
}

// Once ends when nothing more can run.
func TestOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := s.add(Job{}), s.add(Job{})
	c := s.add(Job{Devices: []string{"cuda:7"}})
	d := daemon(s.Store, func(string) {})
	d.Once = true
	if err := d.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s.job(a).State != Done || s.job(b).State != Done || s.job(c).State != Queued {
		t.Errorf("%s %s %s", s.job(a).State, s.job(b).State, s.job(c).State)
	}
}

// spawn runs a daemon as a process of its own.
func (s *site) spawn() *exec.Cmd {
	s.t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "SINTER_FAKE=daemon", "FAKE_DB="+s.Path)
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if c.ProcessState == nil {
			c.Process.Signal(syscall.SIGTERM)
			c.Wait()
		}
	})
	return c
}

// The daemon is killed, with and without its children; the next one takes over what still
// runs, and has the rest go on.
func TestKill(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.spawn()
	lives := s.add(Job{}, "FAKE_STEPS=700")
	dies := s.add(Job{Devices: []string{"cuda:0"}}, "FAKE_STEPS=150")
	pid := s.counting(lives).PID
	other := s.counting(dies).PID
	first.Process.Kill()
	first.Wait()
	if err := kill(other); err != nil { // as if the machine had gone down
		t.Fatal(err)
	}
	second := s.spawn()
	s.state(dies, Done)
	s.whole(dies, 150)
	if h := s.job(dies).History; !slices.ContainsFunc(h, func(h Transition) bool { return strings.Contains(h.Reason, "the machine went down") }) {
		t.Errorf("nothing tells of the kill: %v", h)
	}
	if j := s.job(lives); j.PID != pid || j.State != Running {
		t.Errorf("it has not been taken over: %+v", j)
	}
	// One that was taken over is told to stop as well.
	s.change(lives, func(j *Job) { j.Hold = "by hand" })
	s.state(lives, Paused)
	s.change(lives, func(j *Job) { j.Hold = "" })
	s.counting(lives)
	// A child alone is killed: it goes on after a while.
	pid = s.job(lives).PID
	if err := kill(pid); err != nil {
		t.Fatal(err)
	}
	if j := s.state(lives, Paused); j.Lost != 1 || !strings.Contains(j.Reason, "signal: killed") {
		t.Errorf("after a kill: %+v", j)
	}
	s.change(lives, func(j *Job) { j.NotBefore = time.Time{} })
	s.counting(lives)
	// The daemon is killed again, and the run comes to its end without one.
	second.Process.Kill()
	second.Wait()
	for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if _, held := rundir.Held(s.job(lives).Run); !held {
			break
		}
	}
	s.spawn()
	s.state(lives, Done)
	s.whole(lives, 700)
}

// The database breaks while jobs run: they are put back into the new one.
func TestDamageWhileRunning(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.add(Job{Earliest: time.Now().Add(time.Hour)})
	id := s.add(Job{}, "FAKE_STEPS=300")
	s.start()
	s.counting(id)
	if err := os.WriteFile(s.Path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.state(id, Done)
	s.whole(id, 300)
	all, notices := jobs(t, s.Store)
	if len(all) != 1 || len(notices) != 1 || add(t, s.Store, Job{}) != 3 {
		t.Errorf("%d jobs, notices %v", len(all), notices)
	}
}

// What a kill in the moment leaves in which a run folder is made does not stop the job.
func TestHalfMadeFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{rundir.LockFile, rundir.MetricsFile} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	j := Job{Name: "a/../b c", Recipe: "x: y", Run: dir, Device: "cpu", Args: []string{"--epochs=1"}}
	folder := filepath.Join(t.TempDir(), "1")
	args, err := j.arguments(folder)
	want := []string{"train", filepath.Join(folder, "a-..-b-c.yaml"), "--epochs=1", "--device", "cpu", "--out", dir}
	if left, _ := os.ReadDir(dir); err != nil || !slices.Equal(args, want) || len(left) != 0 {
		t.Errorf("%q, %v, left %v; want %q", args, err, left, want)
	}
	if err := os.WriteFile(filepath.Join(dir, rundir.ManifestFile), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if args, err := j.arguments(folder); err == nil {
		t.Errorf("a run.json that is damaged: %q", args)
	}
}
