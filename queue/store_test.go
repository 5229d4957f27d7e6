package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/process"
)

func store(t testing.TB) *Store {
	t.Helper()
	return Open(filepath.Join(t.TempDir(), "state", "queue.db"))
}

func add(t testing.TB, s *Store, j Job) int {
	t.Helper()
	if j.Name == "" {
		j.Name, j.Recipe, j.Dir = "job", "model: {kind: mlp}", "/"
	}
	if err := s.Update(func(t *Tx) error { return t.Add(&j) }); err != nil {
		t.Fatal(err)
	}
	return j.ID
}

func jobs(t testing.TB, s *Store) (all []Job, notices []Notice) {
	t.Helper()
	err := s.View(func(t *Tx) (err error) {
		if all, err = t.Jobs(); err == nil {
			notices, err = t.Notices()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, notices
}

func TestStore(t *testing.T) {
	s := store(t)
	if all, notices := jobs(t, s); len(all)+len(notices) > 0 {
		t.Errorf("a new database has %v, %v", all, notices)
	}
	want := Job{Name: "gpt", Recipe: "a: b", Dir: "/x", Args: []string{"--epochs=3"}, Window: window(t, "Mon-Fri 23:00-06:00 Europe/Paris"),
		Deadline: at(t, "2026-02-01T00:00:00Z"), Length: time.Hour, Cheap: "/p.csv", Devices: []string{"cuda:0"}, Memory: 5}
	if id := add(t, s, want); id != 1 {
		t.Errorf("the first job is %d", id)
	}
	add(t, s, Job{})
	all, _ := jobs(t, s)
	got := all[0]
	if len(all) != 2 || got.Window.String() != want.Window.String() || got.Args[0] != "--epochs=3" || got.Length != time.Hour || !got.Deadline.Equal(want.Deadline) ||
		got.State != Queued || got.Added.IsZero() || len(got.History) != 1 {
		t.Errorf("got %+v", all)
	}
	fail := errors.New("changed my mind")
	if err := s.Update(func(t *Tx) error { t.Remove(1); return fail }); !errors.Is(err, fail) {
		t.Errorf("error %v", err)
	}
	if err := s.Update(func(t *Tx) error { _, err := t.Job(3); return err }); !errors.As(err, new(*JobError)) {
		t.Errorf("job 3: %v", err)
	}
	if err := s.Update(func(t *Tx) error { return t.Remove(2) }); err != nil {
		t.Error(err)
	}
	if id := add(t, s, Job{}); id != 3 { // numbers are not used again
		t.Errorf("the next job is %d", id)
	}
	if mode := func() os.FileMode { i, _ := os.Stat(s.Path); return i.Mode().Perm() }(); runtime.GOOS != "windows" && mode != 0o600 {
		t.Errorf("others may read it: %v", mode)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.Path), ".queue-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	// One that is in use elsewhere.
	inside, leave := make(chan bool), make(chan bool)
	go s.View(func(*Tx) error { close(inside); <-leave; return nil })
	<-inside
	impatient := Open(s.Path)
	impatient.Timeout = time.Millisecond
	if err := impatient.View(func(*Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("in use: %v", err)
	}
	close(leave)
	// A folder that cannot be made.
	if err := os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := Open(filepath.Join(s.Path, "below a file", "queue.db"))
	if err := bad.View(func(*Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), "queue's database") {
		t.Errorf("below a file: %v", err)
	}
}

// Several processes, and several goroutines of each, begin a database together and add
// jobs to it.
func TestConcurrentAdds(t *testing.T) {
	s := store(t)
	const processes, each = 3, 6
	var group sync.WaitGroup
	for range processes {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "SINTER_FAKE=add", "FAKE_DB="+s.Path, fmt.Sprint("FAKE_N=", each))
		group.Go(func() {
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	group.Wait()
	all, notices := jobs(t, s)
	for i, j := range all {
		if j.ID != i+1 {
			t.Errorf("job %d is in place %d", j.ID, i+1)
		}
	}
	if len(all) != processes*each || len(notices) > 0 {
		t.Errorf("%d jobs of %d, notices %v", len(all), processes*each, notices)
	}
}

// filled is the content of a database of several pages, with free ones among them.
func filled(t testing.TB) (s *Store, content []byte) {
	s = store(t)
	err := s.Update(func(t *Tx) error {
		for i := range 40 {
			j := Job{Name: "job", Dir: "/", Recipe: strings.Repeat("x", 300*i)}
			if err := t.Add(&j); err != nil {
				return err
			}
		}
		return nil
	})
	for id := range 10 {
		if err == nil {
			err = s.Update(func(t *Tx) error { return t.Remove(3*id + 1) })
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	content, err = os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	return s, content
}

// A broken database is kept under another name, a new one is begun and says so; none of
// what is broken ends the process or is taken for whole.
func TestDamage(t *testing.T) {
	s, content := filled(t)
	before, _ := jobs(t, s)
	g := rand.New(rand.NewPCG(1, 2))
	damage := func(what string, broken []byte, may bool) {
		t.Helper()
		for _, old := range append(must(filepath.Glob(s.Path+".damaged-*"))(t), s.Path) {
			os.Remove(old)
		}
		if err := os.WriteFile(s.Path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		all, notices := jobs(t, s)
		aside := must(filepath.Glob(s.Path + ".damaged-*"))(t)
		if may && len(notices) == 0 && len(aside) == 0 {
			// It hit what is not in use, or one of the two pages of meta data.
			if !slices.EqualFunc(all, before, func(a, b Job) bool { return a.ID == b.ID && a.Recipe == b.Recipe }) && len(all) != len(before)+1 {
				t.Errorf("%s: has %d jobs, and nothing is said", what, len(all))
			}
			return
		}
		if len(all) != 0 || len(notices) != 1 || len(aside) != 1 || !strings.Contains(notices[0].Text, aside[0]) {
			t.Fatalf("%s: %d jobs, notices %v, kept %v", what, len(all), notices, aside)
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(broken) {
			t.Errorf("%s: what is kept is not what was there", what)
		}
		if id := add(t, s, Job{}); id != 1 {
			t.Errorf("%s: the new database gives %d", what, id)
		}
	}
	damage("empty", nil, false)
	damage("one byte", []byte{1}, false)
	damage("text", []byte(strings.Repeat("not a database\n", 1000)), false)
	for _, n := range []int{4096, 8192, 12288, len(content) / 2} {
		damage(fmt.Sprintf("cut to %d", n), content[:n], false)
	}
	random := make([]byte, len(content))
	for i := range random {
		random[i] = byte(g.Uint32())
	}
	damage("random", random, false)
	damage("zeros", make([]byte, len(content)), false)
	for i := range 40 {
		broken := slices.Clone(content)
		from := g.IntN(len(broken))
		n := 1 + g.IntN([]int{1, 8, 600, 9000}[i%4])
		for k := from; k < min(from+n, len(broken)); k++ {
			broken[k] = byte(g.Uint32())
		}
		damage(fmt.Sprintf("%d bytes from %d", n, from), broken, true)
	}
}

// Several processes find the damage at the same time: one of them puts the database aside,
// and what the others add is kept.
func TestDamageFoundTogether(t *testing.T) {
	s, content := filled(t)
	if err := os.WriteFile(s.Path, content[:len(content)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			j := Job{Name: "x", Dir: "/", Recipe: "x"}
			if err := Open(s.Path).Update(func(t *Tx) error { return t.Add(&j) }); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	all, notices := jobs(t, s)
	if aside := must(filepath.Glob(s.Path + ".damaged-*"))(t); len(all) != 8 || len(notices) != 1 || len(aside) != 1 {
		t.Errorf("%d jobs, notices %v, kept %v", len(all), notices, aside)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func FuzzCheckFile(f *testing.F) {
	_, content := filled(f)
	f.Add(content, uint(5000), uint(7))
	f.Fuzz(func(t *testing.T, text []byte, at, v uint) {
		if n := uint(len(text)); n > 0 {
			text[at%n] ^= byte(v)
		}
		if err := checkFile(text); err != nil && !errors.Is(err, errDamaged) {
			t.Error(err)
		}
	})
}

func TestClaim(t *testing.T) {
	s := store(t)
	now := time.Now()
	me := Holder{PID: os.Getpid(), Process: process.Self(), Since: now, Seen: now, Lease: lease}
	claim := func(h Holder) error { return s.Update(func(t *Tx) error { return t.Claim(h) }) }
	if err := claim(me); err != nil {
		t.Fatal(err)
	}
	if err := claim(me); err != nil {
		t.Errorf("renewed: %v", err)
	}
	other := me
	other.PID, other.Process.Start = 1, "7"
	var held *HeldError
	if err := claim(other); !errors.As(err, &held) || held.Holder.PID != me.PID || !strings.Contains(err.Error(), fmt.Sprintf("process %d on ", me.PID)) {
		t.Errorf("another: %v", err)
	}
	if err := s.Update(func(t *Tx) error { return errors.Join(t.Release(other), t.Release(me), t.Claim(other)) }); err != nil {
		t.Errorf("after it was released: %v", err)
	}
	if err := claim(me); err != nil { // process 1 did not start at 7
		t.Errorf("after the other has died: %v", err)
	}
	far := me
	far.Process = process.ID{Host: "elsewhere", Boot: "x", Start: "1"}
	if err := s.Update(func(t *Tx) error { return errors.Join(t.Release(me), t.Claim(far)) }); err != nil {
		t.Fatal(err)
	}
	me.Seen = now.Add(lease - time.Second)
	if err := claim(me); !errors.As(err, &held) {
		t.Errorf("on another machine that gave its word lately: %v", err)
	}
	me.Seen = now.Add(lease + time.Second)
	if err := claim(me); err != nil {
		t.Errorf("on another machine that is silent: %v", err)
	}
}

func TestDefaultPath(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", filepath.Join(t.TempDir(), "s"))
	if path, err := DefaultPath(); err != nil || path != filepath.Join(os.Getenv("XDG_STATE_HOME"), "sinter", "queue.db") {
		t.Errorf("%s, %v", path, err)
	}
	t.Setenv("XDG_STATE_HOME", "relative") // is to be ignored, as its specification says
	t.Setenv("HOME", "/home/x")
	if path, err := DefaultPath(); runtime.GOOS == "linux" && (err != nil || path != "/home/x/.local/state/sinter/queue.db") {
		t.Errorf("%s, %v", path, err)
	}
}
