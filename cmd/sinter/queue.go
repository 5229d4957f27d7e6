package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/power/powerfile"
	"github.com/sinter-dl/sinter/queue"
	"github.com/sinter-dl/sinter/schedule"
	"github.com/sinter-dl/sinter/train/recipe"
)

func queueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Queue training runs for windows of time, cheap or green hours, and free devices",
		Long: `Queue training runs. 'sinter queued' carries them out, one at a time on each
device: when their window of time is open, in the hours in which electricity
costs or emits least, by priority and deadline. At the end of a window a run
writes a checkpoint and is paused; in the next one it goes on to the same bits.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var known []string
			for _, sub := range c.Commands() {
				known = append(known, sub.Name())
			}
			return &recipe.UsageError{Reason: fmt.Sprintf("unknown command %q%s", "queue "+args[0], recipe.Suggest(args[0], known))}
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var db string
	var asJSON bool
	c.PersistentFlags().StringVar(&db, "db", "", "`FILE` with the queue, instead of the one in your folder of states")
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(queueAdd(&db, &asJSON), queueLs(&db, &asJSON), queueWhy(&db, &asJSON), queueLog(&db, &asJSON))

	// Those that ask something of a job.
	request := func(name, short, long string, flags func(*cobra.Command), ask func(t *queue.Tx, j *queue.Job) (said string, err error)) {
		sub := &cobra.Command{
			Use:   name + " JOB…",
			Short: short,
			Long:  long,
			Args:  someJobs(name),
			RunE: func(c *cobra.Command, args []string) error {
				ids, err := jobIDs(args)
				if err != nil {
					return err
				}
				s, err := openQueue(db)
				if err != nil {
					return err
				}
				said := map[int]string{}
				daemon := false
				err = s.Update(func(t *queue.Tx) error {
					for _, id := range ids {
						j, err := t.Job(id)
						if err != nil {
							return err
						}
						if said[id], err = ask(t, &j); err != nil {
							return err
						}
					}
					h, err := t.Holder()
					daemon = h.Lives(time.Now())
					return err
				})
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(c.OutOrStdout(), said)
				}
				for _, id := range slices.Sorted(maps.Keys(said)) {
					fmt.Fprintf(c.OutOrStdout(), "job %d %s\n", id, said[id])
				}
				if !daemon && name != "rm" {
					fmt.Fprintln(os.Stderr, noDaemon)
				}
				return nil
			},
		}
		if flags != nil {
			flags(sub)
		}
		c.AddCommand(sub)
	}
	request("pause", "Hold jobs; one that runs writes a checkpoint and stops",
		"Hold jobs. One that runs writes a checkpoint and stops; 'sinter queue resume' lets it go\non to the same bits.", nil,
		func(t *queue.Tx, j *queue.Job) (string, error) {
			if j.State.Ended() {
				return "", &queue.JobError{ID: j.ID, Reason: "has ended: it is " + string(j.State)}
			}
			j.Hold, j.Now = "it was paused by hand", false
			if j.State.Live() {
				return "writes a checkpoint and stops", t.Put(*j)
			}
			return "is held", t.Put(*j)
		})
	var budget string
	release := func(j *queue.Job) error {
		if j.State.Ended() {
			return &queue.JobError{ID: j.ID, Reason: "has ended: it is " + string(j.State)}
		}
		if budget != "" {
			j.Budget = budget
		}
		j.Hold, j.NotBefore = "", time.Time{}
		return nil
	}
	withBudget := func(c *cobra.Command) {
		c.Flags().StringVar(&budget, "budget", "", "`BUDGET` for the whole run in place of the one that is spent: 5EUR, 2kWh, 1kg, 30m")
		c.PreRunE = func(*cobra.Command, []string) error {
			if budget == "" {
				return nil
			}
			if _, err := power.ParseBudget(budget); err != nil {
				return &recipe.UsageError{Place: "--budget", Reason: err.Error()}
			}
			return nil
		}
	}
	request("resume", "Release jobs that are held", "Release jobs that are held: by 'sinter queue pause', or because they stopped by\nthemselves, as at the end of a budget; --budget gives them a new one.", withBudget,
		func(t *queue.Tx, j *queue.Job) (string, error) {
			if j.Hold == "" && !j.State.Ended() {
				return "", &queue.JobError{ID: j.ID, Reason: "is not held"}
			}
			if err := release(j); err != nil {
				return "", err
			}
			return "is released", t.Put(*j)
		})
	request("run-now", "Start jobs as soon as a device is free, whatever their window",
		"Start jobs as soon as a device is free. Their window, their hours and their earliest\nstart are left aside until they stop next; others that run are not pushed out.", withBudget,
		func(t *queue.Tx, j *queue.Job) (string, error) {
			if err := release(j); err != nil {
				return "", err
			}
			j.Now = true
			if j.State.Live() {
				return "runs, and is not paused at the end of its window", t.Put(*j)
			}
			return "starts as soon as a device is free", t.Put(*j)
		})
	var removed []string
	request("rm", "Cancel jobs; those that have ended are taken from the list", "Cancel jobs. One that runs writes a checkpoint and stops; its run folder stays. A job that\nhas ended already is taken from the list, with its log.", nil,
		func(t *queue.Tx, j *queue.Job) (string, error) {
			if j.State.Ended() {
				removed = append(removed, openFolder(db, j.ID))
				return "is removed", t.Remove(j.ID)
			}
			j.Cancel = true
			if j.State.Live() {
				return "writes a checkpoint, stops and is cancelled", t.Put(*j)
			}
			j.End(queue.Cancelled, time.Now(), "")
			return "is cancelled", t.Put(*j)
		})
	for _, sub := range c.Commands() {
		if sub.Name() == "rm" {
			sub.PostRunE = func(*cobra.Command, []string) error {
				var err error
				for _, folder := range removed {
					err = errors.Join(err, os.RemoveAll(folder))
				}
				return err
			}
		}
	}
	return c
}

const noDaemon = "no daemon runs: nothing happens until 'sinter queued' does"

func openQueue(db string) (*queue.Store, error) {
	if db == "" {
		var err error
		if db, err = queue.DefaultPath(); err != nil {
			return nil, err
		}
	}
	db, err := filepath.Abs(db)
	if err != nil {
		return nil, err
	}
	return queue.Open(db), nil
}

// openFolder is the folder of a job in a database that could be opened.
func openFolder(db string, id int) string {
	s, _ := openQueue(db)
	return s.Folder(id)
}

func someJobs(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s takes the numbers of jobs; 'sinter queue ls' lists them", name)
		}
		return nil
	}
}

func jobIDs(args []string) (ids []int, err error) {
	for _, a := range args {
		id, err := strconv.Atoi(strings.TrimPrefix(a, "#"))
		if err != nil || id < 1 {
			return nil, &recipe.UsageError{Reason: fmt.Sprintf("%q is no job; expected its number, see 'sinter queue ls'", a)}
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func queueAdd(db *string, asJSON *bool) *cobra.Command {
	from := recipeFlags{without: "device"}
	var devices, name, minMemory, slice, earliest, deadline, window, cheap, green, out string
	var priority, retries int
	var length, grace time.Duration
	var env []string
	c := &cobra.Command{
		Use:   "add [RECIPE | FILE.yaml]",
		Short: "Queue a training run",
		Long: `Queue a training run: what 'sinter train' with the same recipe and flags would do,
later. The recipe's text is kept as it is now; later edits of the file change
nothing. Paths are those of the folder that this command is called in.`,
		Example: `  sinter queue add lenet --window "23:00-06:00 Europe/Paris"
  sinter queue add gpt --data book.txt --cheap prices.csv --length 6h --deadline "Fri 08:00"
  sinter queue add my.yaml --device cuda:0,cuda:1 --min-memory 20GB --priority 5 --retries 2`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("queue add takes one recipe, found %q as well as %q", args[1], args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			j, err := jobOf(c, &from, args, devices)
			if err != nil {
				return err
			}
			bad := func(flag string, err error) error {
				return &recipe.UsageError{Place: "--" + flag, Reason: err.Error()}
			}
			now := time.Now()
			j.Priority, j.Retries, j.Length, j.Grace, j.Slice = priority, retries, length, grace, slice
			if name != "" {
				j.Name = name
			}
			if j.Dir, err = os.Getwd(); err != nil {
				return err
			}
			if out != "" {
				j.Run = absolute(j.Dir, out)
			}
			if minMemory != "" {
				if j.Memory, err = recipe.ParseSize(minMemory); err != nil {
					return bad("min-memory", err)
				}
			}
			if window != "" {
				if j.Window, err = schedule.ParseWindow(window); err != nil {
					return bad("window", err)
				}
			}
			if j.Earliest, err = parseMoment(earliest, now); err != nil {
				return bad("earliest", err)
			}
			if j.Deadline, err = parseMoment(deadline, now); err != nil {
				return bad("deadline", err)
			}
			for _, f := range []struct {
				flag, file string
				to         *string
				carbon     bool
			}{{"cheap", cheap, &j.Cheap, false}, {"green", green, &j.Green, true}} {
				if f.file == "" {
					continue
				}
				*f.to = absolute(j.Dir, f.file)
				s, err := powerfile.LoadSeries(*f.to)
				if err != nil {
					return err
				}
				if (s.Unit() == power.Grams) != f.carbon {
					return bad(f.flag, fmt.Errorf("%s is a series in %s; --cheap takes prices such as EUR/kWh, --green g/kWh", f.file, s.Unit()))
				}
			}
			if j.Env, err = environment(env); err != nil {
				return err
			}
			if err := j.Check(now); err != nil {
				return &recipe.UsageError{Reason: err.Error()}
			}
			s, err := openQueue(*db)
			if err != nil {
				return err
			}
			if err := s.Update(func(t *queue.Tx) error { return t.Add(&j) }); err != nil {
				return err
			}
			w, daemon, notices, err := look(c, s)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), record(w, queue.Whys(w), j.ID))
			}
			fmt.Fprintf(c.OutOrStdout(), "job %d: %s\n  %s\n", j.ID, j.Command(), queue.Why(w, j.ID))
			tellNotices(notices)
			if !daemon {
				fmt.Fprintln(os.Stderr, noDaemon)
			}
			return nil
		},
	}
	from.add(c)
	c.Flags().StringVar(&devices, "device", "", "run on this `DEVICE`, or the first free one of several with commas between; any of the kind that auto takes unless said")
	c.Flags().StringVar(&out, "out", "", "folder `DIR` to write the run to, instead of runs/<recipe>-<time>-job<number>")
	c.Flags().StringVar(&name, "name", "", "what to call the job, instead of the recipe's name")
	c.Flags().IntVar(&priority, "priority", 0, "jobs with a higher `N` come first")
	c.Flags().StringVar(&window, "window", "", "run only in these `TIMES`: \"23:00-06:00 Europe/Paris\", \"Sat,Sun 00:00-24:00\"")
	c.Flags().StringVar(&cheap, "cheap", "", "run in the hours that cost least, by the prices in `FILE`; wants --length")
	c.Flags().StringVar(&green, "green", "", "run in the hours that emit least, by the g CO2e/kWh in `FILE`; wants --length")
	c.Flags().DurationVar(&length, "length", 0, "about how long it `TAKES`: 6h30m")
	c.Flags().StringVar(&earliest, "earliest", "", "do not start before this `TIME`: 22:30, \"2026-12-01 08:00\", 3h from now")
	c.Flags().StringVar(&deadline, "deadline", "", "to be done by this `TIME`")
	c.Flags().StringVar(&minMemory, "min-memory", "", "on a device with at least `SIZE` of memory, such as 20GB")
	c.Flags().StringVar(&slice, "mig", "", "on a MIG slice of this `PROFILE`, such as 1g.10gb")
	c.Flags().IntVar(&retries, "retries", 0, "after a failure, try again `N` times: after 1, 2, 4, … minutes")
	c.Flags().DurationVar(&grace, "grace", 2*time.Minute, "`TIME` to write a checkpoint in, after which it is killed")
	c.Flags().StringArrayVar(&env, "env", nil, "keep the variable `NAME` or NAME=VALUE of the environment too; may be repeated")
	c.Flags().SortFlags = false
	return c
}

// jobOf is the job that the recipe and its flags say, checked as far as it can be without
// the data.
func jobOf(c *cobra.Command, from *recipeFlags, args []string, devices string) (j queue.Job, err error) {
	name := "lenet"
	if len(args) == 1 {
		name = args[0]
	}
	r, err := recipe.Load(name)
	if err != nil {
		return j, err
	}
	if err := from.set(c, r); err != nil {
		return j, err
	}
	devices = cmp.Or(devices, r.Device)
	if err := r.Resolve(); err != nil {
		return j, err
	}
	text, err := recipe.Source(name)
	if err != nil {
		if text, err = os.ReadFile(name); err != nil {
			return j, fmt.Errorf("reading the recipe: %w", err)
		}
	}
	j.Recipe, j.Source, j.Args = string(text), name, from.args(c)
	j.Name = strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	for d := range strings.SplitSeq(devices, ",") {
		if d = strings.TrimSpace(d); d != "" && d != "auto" {
			j.Devices = append(j.Devices, d)
		}
	}
	return j, nil
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// kept is what is kept of the environment: what programs and libraries are found by, and
// how they are set. Names that end in _ are beginnings. Secrets are not meant to lie in a
// database.
var kept = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_", "TZ", "TMPDIR", "XDG_", "LD_LIBRARY_PATH", "CUDA_", "NVIDIA_", "OCL_", "OPENCL_", "SINTER_", "GOMAXPROCS", "GOMEMLIMIT", "GODEBUG", "ZONEINFO",
	"SYSTEMROOT", "SystemRoot", "TEMP", "TMP", "USERPROFILE", "APPDATA", "LOCALAPPDATA"}

func environment(more []string) (all []string, err error) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if slices.ContainsFunc(kept, func(k string) bool {
			return name == k || strings.HasSuffix(k, "_") && strings.HasPrefix(name, k)
		}) {
			all = append(all, v)
		}
	}
	for _, v := range more {
		if !strings.Contains(v, "=") {
			value, ok := os.LookupEnv(v)
			if !ok {
				return nil, &recipe.UsageError{Place: "--env " + v, Reason: "there is no such variable"}
			}
			v += "=" + value
		}
		all = append(all, v)
	}
	return all, nil
}

// parseMoment reads a time: in so long, by the clock of the machine, today or else
// tomorrow, on a day of the week, or on a date.
func parseMoment(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(text, "+")); err == nil && d > 0 {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	day, clock, ok := strings.Cut(text, " ")
	if !ok {
		day, clock = "", text
	}
	if hm, err := time.Parse("15:04", clock); err == nil {
		for d := range 8 {
			t := time.Date(now.Year(), now.Month(), now.Day()+d, hm.Hour(), hm.Minute(), 0, 0, now.Location())
			if t.After(now) && (day == "" || strings.EqualFold(day, t.Format("Mon")) || strings.EqualFold(day, t.Format("Monday")) ||
				strings.EqualFold(day, "today") && d == 0 || strings.EqualFold(day, "tomorrow") && d == 1) {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf(`%q is no time to come; expected 22:30, "Fri 08:00", "2026-12-01 08:00", 2026-12-01T08:00:00+01:00, or 3h for in three hours`, text)
}

// look is the queue as it is now, with what else follows from the machine.
func look(c *cobra.Command, s *queue.Store) (w queue.World, daemon bool, notices []queue.Notice, err error) {
	w.Now = time.Now()
	err = s.View(func(t *queue.Tx) error {
		var errs [4]error
		var h *queue.Holder
		w.Jobs, errs[0] = t.Jobs()
		w.Devices, errs[1] = t.Devices()
		notices, errs[2] = t.Notices()
		h, errs[3] = t.Holder()
		daemon = h.Lives(w.Now)
		return errors.Join(errs[:]...)
	})
	if err != nil {
		return w, false, nil, err
	}
	if !daemon || w.Devices == nil {
		program, err := os.Executable()
		if err != nil {
			return w, false, nil, err
		}
		if w.Devices, err = findDevices(c.Context(), program); err != nil {
			return w, false, nil, err
		}
	}
	w.Series = queue.Cache{}.Read(w.Jobs, powerfile.LoadSeries)
	return w, daemon, notices, nil
}

func tellNotices(notices []queue.Notice) {
	for _, n := range notices {
		fmt.Fprintf(os.Stderr, "%s: %s\n", n.Time.Local().Format("2006-01-02 15:04"), n.Text)
	}
}

// jobRecord is a job in JSON.
type jobRecord struct {
	queue.Job
	Why string `json:"why"`
}

func record(w queue.World, whys map[int]string, id int) jobRecord {
	i := slices.IndexFunc(w.Jobs, func(j queue.Job) bool { return j.ID == id })
	return jobRecord{w.Jobs[i], whys[id]}
}

func queueLs(db *string, asJSON *bool) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the jobs",
		Args:  exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := openQueue(*db)
			if err != nil {
				return err
			}
			w, daemon, notices, err := look(c, s)
			if err != nil {
				return err
			}
			whys := queue.Whys(w)
			if *asJSON {
				records := []jobRecord{}
				if notices == nil {
					notices = []queue.Notice{}
				}
				for _, j := range w.Jobs {
					records = append(records, jobRecord{j, whys[j.ID]})
				}
				return printJSON(c.OutOrStdout(), map[string]any{"daemon": daemon, "devices": w.Devices, "notices": notices, "jobs": records})
			}
			listJobs(c.OutOrStdout(), w, whys, ui.Width(os.Stdout))
			tellNotices(notices)
			if !daemon && slices.ContainsFunc(w.Jobs, func(j queue.Job) bool { return !j.State.Ended() }) {
				fmt.Fprintln(os.Stderr, noDaemon)
			}
			return nil
		},
	}
}

// listJobs writes a table no wider than width, in which why is cut to what is left.
func listJobs(out io.Writer, w queue.World, whys map[int]string, width int) {
	if len(w.Jobs) == 0 {
		fmt.Fprintln(out, "no jobs; 'sinter queue add RECIPE' queues one")
		return
	}
	rows := [][]string{{"JOB", "STATE", "NAME", "RAN", "WHY"}}
	for _, j := range w.Jobs {
		ran := j.Ran
		if j.State.Live() {
			ran += w.Now.Sub(j.Started)
		}
		took := "-"
		if ran > 0 {
			took = ui.Clock(ran)
		}
		state := string(j.State)
		if j.Hold != "" && !j.State.Live() && !j.State.Ended() {
			state = "held"
		}
		rows = append(rows, []string{strconv.Itoa(j.ID), state, cut(j.Name, 16), took, whys[j.ID]})
	}
	left := width
	for i := range 4 {
		widest := 0
		for _, row := range rows {
			widest = max(widest, utf8.RuneCountInString(row[i]))
		}
		left -= widest + 3
	}
	for _, row := range rows {
		row[4] = cut(row[4], max(20, left))
	}
	ui.Table(out, rows)
}

// cut shortens a text to so many columns.
func cut(text string, columns int) string {
	if r := []rune(text); len(r) > columns {
		return string(r[:columns-1]) + "…"
	}
	return text
}

func queueWhy(db *string, asJSON *bool) *cobra.Command {
	return &cobra.Command{
		Use:   "why JOB…",
		Short: "Say what a job waits for",
		Args:  someJobs("why"),
		RunE: func(c *cobra.Command, args []string) error {
			ids, err := jobIDs(args)
			if err != nil {
				return err
			}
			s, err := openQueue(*db)
			if err != nil {
				return err
			}
			w, daemon, _, err := look(c, s)
			if err != nil {
				return err
			}
			whys := queue.Whys(w)
			said := map[int]string{}
			for _, id := range ids {
				if whys[id] == "" {
					return &queue.JobError{ID: id, Reason: "is not in the queue; 'sinter queue ls' lists the jobs"}
				}
				said[id] = whys[id]
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), said)
			}
			for _, id := range ids {
				fmt.Fprintf(c.OutOrStdout(), "job %d %s\n", id, said[id])
			}
			if !daemon {
				fmt.Fprintln(os.Stderr, noDaemon)
			}
			return nil
		},
	}
}

func queueLog(db *string, asJSON *bool) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "log JOB",
		Short: "Show what happened to a job, and its output",
		Args:  exactly("the JOB's number"),
		RunE: func(c *cobra.Command, args []string) error {
			ids, err := jobIDs(args)
			if err != nil {
				return err
			}
			s, err := openQueue(*db)
			if err != nil {
				return err
			}
			if *asJSON && follow {
				return &recipe.UsageError{Place: "--follow", Reason: "it is not for --json"}
			}
			return showLog(c, s, ids[0], follow, *asJSON)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended, or Ctrl-C")
	return c
}

// showLog writes a job's transitions and its output. If it follows, it writes on what is
// new, the transitions in brackets.
func showLog(c *cobra.Command, s *queue.Store, id int, follow, asJSON bool) error {
	out := c.OutOrStdout()
	var j queue.Job
	var notices []queue.Notice
	read := func() error {
		return s.View(func(t *queue.Tx) (err error) {
			if j, err = t.Job(id); err == nil {
				notices, err = t.Notices()
			}
			return err
		})
	}
	if err := read(); err != nil {
		return err
	}
	var offset int64
	output := func() ([]byte, error) {
		f, err := os.Open(s.LogFile(id))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		text, err := io.ReadAll(io.NewSectionReader(f, offset, 1<<40))
		if end := bytes.LastIndexByte(text, '\n'); follow {
			text = text[:end+1] // whole lines
		}
		offset += int64(len(text))
		return text, err
	}
	if asJSON {
		text, err := output()
		if err != nil {
			return err
		}
		return printJSON(out, map[string]any{"job": id, "history": j.History, "output": string(text)})
	}
	tellNotices(notices)
	shown := time.Time{}
	transitions := func() {
		for _, t := range j.History {
			if !t.Time.After(shown) {
				continue
			}
			line := fmt.Sprintf("[%s] job %d: %s", t.Time.Local().Format("2006-01-02 15:04:05"), id, t.State)
			if t.Reason != "" {
				line += ", " + t.Reason
			}
			fmt.Fprintln(out, line)
		}
		if n := len(j.History); n > 0 {
			shown = j.History[n-1].Time
		}
	}
	transitions()
	version := ""
	for {
		text, err := output()
		if err != nil {
			return err
		}
		out.Write(text)
		if !follow {
			return nil
		}
		if j.State.Ended() {
			return nil
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-time.After(300 * time.Millisecond):
		}
		if info, err := os.Stat(s.Path); err == nil {
			if v := fmt.Sprint(info.ModTime(), info.Size()); v == version {
				continue
			} else {
				version = v
			}
		}
		if err := read(); err != nil {
			return err
		}
		transitions()
	}
}
