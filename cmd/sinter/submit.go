package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/queue/cluster"
	"github.com/sinter-dl/sinter/schedule"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

// submission is what the flags of 'sinter submit' say.
type submission struct {
	from            recipeFlags
	to, file        string
	send, asJSON    bool
	job             cluster.Job
	slurm           cluster.Slurm
	kubernetes      cluster.Kubernetes
	mem             string
	begin, deadline string
	now             time.Time
}

func submitCommand() *cobra.Command {
	s := &submission{now: time.Now()}
	c := &cobra.Command{
		Use:   "submit --to slurm|kubernetes [RECIPE | FILE.yaml]",
		Short: "Hand a training run to Slurm or Kubernetes",
		Long: `Write what makes Slurm or Kubernetes train a recipe: an sbatch script, or a JobSet
with labels for Kueue. --send submits it by sbatch or kubectl, which have to be
there. The flags that 'sinter train' takes for a recipe are taken here, too, and
hold where the run is.

A run that is stopped, by a time limit, by a job that goes before or for its window
closes, writes a checkpoint, is put back into the queue, and goes on from there to
the same bits. One whose budget is spent is not.

Paths have to mean the same where the run is: a shared file system, or the volume
of --claim. The memory to ask for follows from the exact plan of the step and the
size of the data, if the data can be opened here; otherwise --mem says it.`,
		Example: `  sinter submit --to slurm lenet --data /shared/mnist --time 2h --send
  sinter submit --to slurm mine.yaml --gpus 1 --window "23:00-06:00 Europe/Paris" -o job.sh
  sinter submit --to kubernetes gpt --data book.txt --device cuda:0 --mem 8GiB \
      --image registry.example.org/sinter --claim research --queue team-a -o job.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("submit takes one recipe, found %q as well as %q", args[1], args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			name := "lenet"
			if len(args) == 1 {
				name = args[0]
			}
			return s.run(c, name)
		},
	}
	f := c.Flags()
	f.StringVar(&s.to, "to", "", "`SCHEDULER`: slurm or kubernetes")
	f.BoolVar(&s.send, "send", false, "submit it")
	f.StringVarP(&s.file, "output", "o", "", "write it to `FILE`, instead of standard output")
	f.StringVar(&s.job.Name, "name", "", "of the job; the recipe's and the time unless said")
	f.StringVar(&s.job.Out, "out", "", "folder `DIR` of the run; runs/<name of the job> unless said")
	f.StringVar(&s.job.Program, "sinter", "sinter", "`PATH` of this program where the run is")
	f.IntVar(&s.job.CPUs, "cpus", 0, "processors; the recipe's threads, or 4, unless said")
	f.StringVar(&s.mem, "mem", "", "memory of the host, a `SIZE` such as 8GiB; from the plan unless said")
	f.IntVar(&s.job.GPUs, "gpus", 0, "0 or 1; 1 if the recipe's device is a GPU")
	f.StringVar(&s.job.GPUType, "gpu-type", "", "which GPU: its `TYPE` in Slurm's Gres, or its label nvidia.com/gpu.product")
	f.StringVar(&s.job.MIG, "mig", "", "a slice of a GPU, `PROFILE` such as 1g.10gb, in place of a whole one")
	f.StringArrayVar(&s.job.Env, "env", nil, "`NAME=VALUE` for the run; may be repeated")
	f.DurationVar(&s.job.Time, "time", 0, "longest `TIME` at a stretch in Slurm, in all on Kubernetes: 90m, 12h")
	f.DurationVar(&s.job.Grace, "grace", 120*time.Second, "`TIME` between being told to stop and being killed")
	f.StringVar(&s.begin, "begin", "", "not before this `TIME`: 2026-12-01T22:00, with a zone as +01:00 or in that of this machine")
	f.StringVar(&s.deadline, "deadline", "", "Slurm: drop the job if it cannot end by this `TIME`")
	f.StringVar(&s.job.Window, "window", "", "run in these hours only, `WINDOW` as \"23:00-06:00 Europe/Paris\"")
	f.IntVar(&s.job.Retries, "retries", 3, "Kubernetes: `N` times a run that failed is started again")
	f.StringVar(&s.slurm.Partition, "partition", "", "Slurm's `PARTITION`")
	f.StringVar(&s.slurm.Account, "account", "", "Slurm's `ACCOUNT`")
	f.StringVar(&s.slurm.QOS, "qos", "", "Slurm's `QOS`")
	f.StringVar(&s.slurm.Gres, "gres", "", "Slurm's generic `RESOURCES`, in place of what --gpus, --gpu-type and --mig give")
	f.StringVar(&s.slurm.Dir, "dir", "", "Slurm: `DIR` that the job runs in; this one unless said")
	f.StringVar(&s.kubernetes.Image, "image", "", "Kubernetes: `IMAGE` of the container")
	f.StringVar(&s.kubernetes.Claim, "claim", "", "Kubernetes: PersistentVolumeClaim `NAME` with data and runs")
	f.StringVar(&s.kubernetes.Mount, "mount", "/work", "Kubernetes: `DIR` where the claim is mounted and the run works")
	f.StringVar(&s.kubernetes.Namespace, "namespace", "", "Kubernetes: `NAMESPACE`")
	f.StringVar(&s.kubernetes.Queue, "queue", "", "Kueue's LocalQueue `NAME`")
	f.StringVar(&s.kubernetes.PriorityClass, "priority-class", "", "Kueue's WorkloadPriorityClass `NAME`; without --queue that of the pod")
	f.StringVar(&s.kubernetes.GPUResource, "gpu-resource", "nvidia.com/gpu", "Kubernetes: what a GPU is called")
	f.BoolVar(&s.asJSON, "json", false, "what was done as one JSON object on standard output; wants --send or --output")
	s.from.add(c)
	f.SortFlags = false
	c.AddCommand(windowCommand())
	return c
}

func (s *submission) run(c *cobra.Command, name string) error {
	if s.to != "slurm" && s.to != "kubernetes" {
		return &recipe.UsageError{Place: "--to", Reason: fmt.Sprintf("found %q, expected slurm or kubernetes", s.to)}
	}
	if s.asJSON && !s.send && s.file == "" {
		return &recipe.UsageError{Place: "--json", Reason: "there is nothing to report of a text that is printed; give --output or --send"}
	}
	r, err := s.load(c, name)
	if err != nil {
		return err
	}
	text, err := s.write(c, name, r)
	var wrong *cluster.Error
	if errors.As(err, &wrong) {
		place := "--" + wrong.Field
		if wrong.Field == "recipe" {
			place = "RECIPE"
		}
		return &recipe.UsageError{Place: place, Reason: wrong.Reason}
	}
	if err != nil {
		return err
	}
	if s.file != "" {
		if err := rundir.WriteFile(s.file, text); err != nil {
			return fmt.Errorf("writing %s: %w", s.file, err)
		}
	}
	var id string
	if s.send {
		if id, err = s.submit(text); err != nil {
			return err
		}
	}
	return s.report(c, text, id)
}

// load reads the recipe as 'sinter train' would. Its device need not be here.
func (s *submission) load(c *cobra.Command, name string) (*recipe.Recipe, error) {
	r, err := recipe.Load(name)
	if err == nil {
		err = s.from.set(c, r)
	}
	if err == nil {
		err = r.Resolve()
	}
	return r, err
}

// write makes the script or the manifest.
func (s *submission) write(c *cobra.Command, name string, r *recipe.Recipe) ([]byte, error) {
	j := &s.job
	if j.Name == "" {
		j.Name = s.name(r.Name)
	}
	if j.Out == "" {
		j.Out = filepath.ToSlash(filepath.Join("runs", j.Name))
	}
	j.Train = append([]string{name}, s.from.args(c)...)
	if err := s.when(); err != nil {
		return nil, err
	}
	note := func(format string, args ...any) { j.Notes = append(j.Notes, fmt.Sprintf(format, args...)) }
	note("sinter %s wrote this on %s: sinter submit --to %s %s", rundir.Version(), s.now.UTC().Format(time.RFC3339), s.to, strings.Join(j.Train, " "))
	if j.CPUs == 0 {
		if j.CPUs = r.Threads; j.CPUs == 0 {
			j.CPUs = 4
			note("4 processors unless --cpus says another number.")
		}
	}
	gpu := strings.HasPrefix(r.Device, "cuda") || strings.HasPrefix(r.Device, "opencl") || j.MIG != "" || j.GPUType != ""
	switch {
	case !c.Flags().Changed("gpus") && gpu:
		j.GPUs = 1
	case j.GPUs == 0 && s.slurm.Gres == "" && r.Device != "cpu":
		note("No GPU is asked for: the run computes on processors; --gpus 1 asks for one.")
	}
	if err := s.memory(r, note); err != nil {
		return nil, err
	}
	if s.to == "slurm" {
		return s.writeSlurm(note)
	}
	return s.writeKubernetes(name, note)
}

func (s *submission) writeSlurm(note func(string, ...any)) ([]byte, error) {
	if s.slurm.Dir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("the folder that the job is to run in: %w", err)
		}
		s.slurm.Dir = dir
	} else if isFile(s.job.Train[0]) { // its name is meant here, not there
		file, err := filepath.Abs(s.job.Train[0])
		if err != nil {
			return nil, err
		}
		s.job.Train[0] = file
	}
	if !s.job.Begin.IsZero() {
		note("It begins at %s.", s.job.Begin.Format("2006-01-02 15:04:05 MST"))
	}
	return s.job.Slurm(s.slurm)
}

func (s *submission) writeKubernetes(name string, note func(string, ...any)) ([]byte, error) {
	if isFile(name) {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s.kubernetes.Recipe, s.job.Train[0] = text, cluster.RecipePath
	}
	if s.job.Window != "" || !s.job.Begin.IsZero() {
		note("Kubernetes has no begin and no windows of time: this JobSet is suspended, and does nothing until something lets it go.")
		note("To let it go:  kubectl patch jobset %s --type=merge -p '{\"spec\":{\"suspend\":false}}'", s.job.Name)
		note("To stop it, with a checkpoint:  kubectl patch jobset %s --type=merge -p '{\"spec\":{\"suspend\":true}}'", s.job.Name)
	}
	return s.job.Kubernetes(s.kubernetes)
}

// name is the recipe's and the time, in letters that everybody takes.
func (s *submission) name(of string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(of)), "-")
	if name = name[:min(len(name), 30)]; name == "" || name[0] <= '9' {
		name = "run-" + name
	}
	return strings.TrimRight(name, "-") + s.now.Format("-20060102-150405")
}

// isFile tells whether a recipe is one of the user's and no built-in one.
func isFile(name string) bool { return !slices.Contains(recipe.Builtin(), name) }

// when reads the times.
func (s *submission) when() (err error) {
	j := &s.job
	if j.Begin, err = timeOf("--begin", s.begin); err != nil {
		return err
	}
	if j.Deadline, err = timeOf("--deadline", s.deadline); err != nil {
		return err
	}
	if j.Window == "" {
		return nil
	}
	w, err := schedule.ParseWindow(j.Window)
	if err != nil {
		return &recipe.UsageError{Place: "--window", Reason: err.Error()}
	}
	from := s.now
	if j.Begin.After(from) {
		from = j.Begin
	}
	open := w.Next(from)
	if open.To.IsZero() { // always open
		j.Window = ""
		return nil
	}
	if open.Length() <= j.Grace {
		return &recipe.UsageError{Place: "--window", Reason: fmt.Sprintf("%s is open for %v only, of which --grace %v are for the checkpoint", j.Window, open.Length(), j.Grace)}
	}
	if open.From.After(from) {
		j.Begin = open.From
	}
	return nil
}

// timeOf reads a time of a day; without a zone it is meant in that of this machine.
func timeOf(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &recipe.UsageError{Place: flag, Reason: fmt.Sprintf("found %q, expected a time such as 2026-12-01T22:00 or 2026-12-01T22:00+01:00", text)}
}

// memoryRoom is what the program takes besides data and step, and memoryStep what a
// request is rounded up to.
const (
	memoryRoom = 64 << 20
	memoryStep = 64 << 20
)

// memory asks for what the run will need of the host. The plan is exact in what a step
// takes; of the rest, the data as it was read here and the program, as much again is
// asked for, since Go lets a heap double before it collects garbage.
func (s *submission) memory(r *recipe.Recipe, note func(string, ...any)) error {
	if s.mem != "" {
		n, err := recipe.ParseSize(s.mem)
		if err != nil {
			return &recipe.UsageError{Place: "--mem", Reason: err.Error()}
		}
		s.job.Memory = n
		return nil
	}
	here := *r
	here.Device = "cpu"
	j, err := recipe.Prepare(&here)
	if err != nil {
		var wrong *recipe.UsageError
		if errors.As(err, &wrong) {
			return err
		}
		return &recipe.UsageError{Place: "--mem", Reason: fmt.Sprintf("how much memory the run needs cannot be planned here, for its data cannot be opened: %v; say --mem SIZE", err)}
	}
	m, err := j.Trainer.PlanMemory(j.Model, j.Source.Examples())
	if err != nil {
		return err
	}
	resident, source := train.ResidentMemory()
	for _, v := range nn.State(j.Model) {
		resident -= int64(v.Len() * v.DType().Size())
	}
	step := m.Total()
	where := "a step"
	if s.job.GPUs > 0 {
		step, where = m.Batches+m.Results, "batches, as the rest of a step is on the GPU"
	}
	copies := m.Weights + m.Optimizer
	s.job.Memory = (step + copies + 2*resident + memoryRoom + memoryStep - 1) / memoryStep * memoryStep
	note("Memory: %s for %s (planned), %s for the copy that checkpoints are written from, twice %s for program and data (%s); --mem says another.",
		ui.Bytes(step), where, ui.Bytes(copies), ui.Bytes(resident), source)
	return nil
}

// submit hands the text over and gives the name that the job got.
func (s *submission) submit(text []byte) (id string, err error) {
	tool, args, get := "sbatch", []string{"--parsable"}, "it is of the package slurm-client; without it, take the script by -o FILE to where it is and run: sbatch FILE"
	if s.to == "kubernetes" {
		tool, args = "kubectl", []string{"apply", "-o", "name", "-f", "-"}
		get = "see https://kubernetes.io/docs/tasks/tools; without it, take the manifest by -o FILE to where it is and run: kubectl apply -f FILE"
	}
	path, err := exec.LookPath(tool)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("--send wants the command %s, which is not here: %s", tool, get)
	}
	if err != nil {
		return "", fmt.Errorf("--send wants the command %s: %w", tool, err)
	}
	command := exec.Command(path, args...)
	command.Stdin = bytes.NewReader(text)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s refused it (%w): %s", tool, err, strings.TrimSpace(stderr.String()+stdout.String()))
	}
	id = strings.TrimSpace(stdout.String())
	if s.to == "slurm" {
		id, _, _ = strings.Cut(id, ";") // the cluster's name
	}
	return id, nil
}

func (s *submission) report(c *cobra.Command, text []byte, id string) error {
	out := c.OutOrStdout()
	switch {
	case s.asJSON:
		line, err := json.Marshal(map[string]any{"to": s.to, "job": id, "sent": s.send, "name": s.job.Name, "run": s.job.Out, "file": s.file,
			"cpus": s.job.CPUs, "gpus": s.job.GPUs, "memory_bytes": s.job.Memory, "begin": rfc3339(s.job.Begin), "notes": s.job.Notes})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(line))
		return nil
	case s.send && s.to == "slurm":
		fmt.Fprintf(out, "job %s; its run will be in %s, its output in %s\n", id, s.job.Out, filepath.Join(s.slurm.Dir, s.job.Name+"-"+id+".log"))
	case s.send:
		fmt.Fprintf(out, "%s; its run will be in %s of the claim %s\n", strings.ReplaceAll(id, "\n", ", "), s.job.Out, s.kubernetes.Claim)
	case s.file == "":
		_, err := out.Write(text)
		return err
	}
	for _, n := range s.job.Notes[1:] {
		fmt.Fprintln(os.Stderr, n)
	}
	if s.file != "" {
		fmt.Fprintf(os.Stderr, "written to %s\n", s.file)
	}
	return nil
}

func rfc3339(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// windowCommand is what a script asks for its hours.
func windowCommand() *cobra.Command {
	var unix bool
	c := &cobra.Command{
		Use:   "window WINDOW",
		Short: "Say when a window of time is open next",
		Long: `Print when the window is open, now or next, and when it opens after that. With
--unix: its begin, its end and its next begin, in seconds since 1970, as the
scripts of 'sinter submit --to slurm' want it.`,
		Example: `  sinter submit window "23:00-06:00 Europe/Paris"`,
		Args:    exactly("WINDOW"),
		RunE: func(c *cobra.Command, args []string) error {
			w, err := schedule.ParseWindow(args[0])
			if err != nil {
				return &recipe.UsageError{Reason: err.Error()}
			}
			open := w.Next(time.Now())
			if open.To.IsZero() {
				return &recipe.UsageError{Reason: fmt.Sprintf("window %q: it is always open", args[0])}
			}
			after := w.Next(open.To.Add(time.Second))
			if unix {
				fmt.Fprintln(c.OutOrStdout(), open.From.Unix(), open.To.Unix(), after.From.Unix())
				return nil
			}
			const form = "Mon 2006-01-02 15:04 MST"
			ui.Table(c.OutOrStdout(), [][]string{
				{"opens", open.From.In(w.Zone()).Format(form)}, {"closes", open.To.In(w.Zone()).Format(form)}, {"opens again", after.From.In(w.Zone()).Format(form)}})
			return nil
		},
	}
	c.Flags().BoolVar(&unix, "unix", false, "three numbers of seconds since 1970")
	return c
}
